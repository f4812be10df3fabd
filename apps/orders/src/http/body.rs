//! Reading a request's body within bounds of size and time.

use super::problem::Problem;
use axum::body::Body;
use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use std::time::Duration;

/// The largest body that is read.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How much more is received and thrown away: a connection that is closed on a client in the middle
/// of its sentence may lose the answer.
const HEARD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a client may take to send it.
const BODY_LIMIT: Duration = Duration::from_secs(10);

/// The whole body of a request.
pub(super) async fn read(body: Body) -> Result<Bytes, Problem> {
    tokio::time::timeout(BODY_LIMIT, collect(body)).await.unwrap_or_else(|_late| {
        let seconds = BODY_LIMIT.as_secs();
        let detail = format!("the body did not arrive within {seconds} seconds");
        Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
    })
}

async fn collect(mut body: Body) -> Result<Bytes, Problem> {
    let mut kept = BytesMut::new();
    let mut heard = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let detail = format!("the body could not be read: {error}");
            Problem::new(StatusCode::BAD_REQUEST, detail)
        })?;
        let Ok(bytes) = frame.into_data() else { continue };
        heard += bytes.len();
        if heard > HEARD_BYTES_MAX {
            break;
        }
        if heard <= BODY_BYTES_MAX {
            kept.extend_from_slice(&bytes);
        }
    }
    if heard > BODY_BYTES_MAX {
        let detail = format!("the body is larger than {BODY_BYTES_MAX} bytes");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    Ok(kept.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::body::Frame;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// A client that says nothing.
    struct Silent;

    impl hyper::body::Body for Silent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn a_body_at_the_limit_is_read_and_one_over_it_is_not() {
        let body = Body::from(vec![b' '; BODY_BYTES_MAX]);
        assert_eq!(read(body).await.unwrap().len(), BODY_BYTES_MAX);
        for size in [BODY_BYTES_MAX + 1, HEARD_BYTES_MAX + 1] {
            let problem = read(Body::from(vec![b' '; size])).await.unwrap_err();
            assert_eq!(problem.status, StatusCode::PAYLOAD_TOO_LARGE);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let problem = read(Body::new(Silent)).await.unwrap_err();
        assert_eq!(problem.status, StatusCode::REQUEST_TIMEOUT);
    }
}
