//! A bound on the requests that are worked on at once: the rest is sent away, not queued.

use super::problem::Problem;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The bound. Well below the 1,024 files that a process may usually have open.
pub(super) const IN_FLIGHT_MAX: usize = 512;

/// Free places.
#[derive(Clone)]
pub(super) struct Places(Arc<Semaphore>);

impl Places {
    pub(super) fn new(places: usize) -> Self {
        Self(Arc::new(Semaphore::new(places)))
    }
}

/// Gives `request` a place, or sends it away with 503 and a time to come back.
pub(super) async fn bound(State(places): State<Places>, request: Request, next: Next) -> Response {
    match places.0.try_acquire() {
        Ok(_place) => next.run(request).await,
        Err(_none) => {
            Problem::unavailable("too many requests are in flight; come back later").into_response()
        }
    }
}
