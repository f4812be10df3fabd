//! Which request goes where, and the server itself.

use super::in_flight::{IN_FLIGHT_MAX, Places, bound};
use super::place::place;
use super::problem::Problem;
use super::service::Service;
use super::show::show;
use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpSocket};

/// How many connections may wait to be accepted: a crowd is told that it is too large, not left
/// standing.
const WAITING_MAX: u32 = 1024;

/// Listens on `address`.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // An address that the last run has just left can be used again.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING_MAX)
}

/// Serves until `stopped` ends, then finishes the requests that are in flight.
pub(crate) async fn serve(
    listener: TcpListener,
    service: Service,
    stopped: impl Future<Output = ()> + Send + 'static,
) {
    let listener = listener.tap_io(|connection| {
        // Answers are small and awaited: they must not wait for company. A connection that cannot
        // be told so works all the same.
        let _ = connection.set_nodelay(true);
    });
    let served = axum::serve(listener, router(service, IN_FLIGHT_MAX));
    if let Err(error) = served.with_graceful_shutdown(stopped).await {
        tracing::error!(%error, "the HTTP server failed");
    }
}

fn router(service: Service, in_flight_max: usize) -> Router {
    Router::new()
        .route("/orders", post(place))
        .route("/orders/{id}", get(show))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(from_fn_with_state(Places::new(in_flight_max), bound))
        .with_state(service)
}

async fn unknown_path(uri: Uri) -> Problem {
    Problem::not_found(format!("there is nothing at {}", uri.path()))
}

async fn unknown_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} does not answer {method}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}
