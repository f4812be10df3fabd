//! Requests that go out together and are answered one after the other.

use futures_util::future::BoxFuture;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Requests on their way, with what each is for.
pub(super) struct Flight<'f, T> {
    requests: Vec<(T, Request<'f>)>,
}

/// An answer: how many rows, which nobody asks.
type Answered = Result<u64, tokio_postgres::Error>;

enum Request<'f> {
    Sent(Pin<Box<dyn Future<Output = Answered> + Send + 'f>>),
    Answered(Answered),
}

impl<'f, T> Flight<'f, T> {
    pub(super) fn new() -> Self {
        Self { requests: Vec::new() }
    }

    /// Hands the request over, behind those before it. Answers whether it could be.
    pub(super) fn send(
        &mut self,
        purpose: T,
        request: impl Future<Output = Answered> + Send + 'f,
    ) -> bool {
        let mut request: BoxFuture<'f, Answered> = Box::pin(request);
        // The first poll writes it; who waits for it is told in the next one.
        let polled = request.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let (request, is_sent) = match polled {
            Poll::Pending => (Request::Sent(request), true),
            Poll::Ready(answered) => {
                let is_sent = answered.is_ok();
                (Request::Answered(answered), is_sent)
            }
        };
        self.requests.push((purpose, request));
        is_sent
    }

    /// Whether all of them could be handed over.
    pub(super) fn is_sent(&self) -> bool {
        self.requests.iter().all(|(_, request)| !matches!(request, Request::Answered(Err(_))))
    }

    /// All answers, in the order of the requests. Not to be dropped: what was sent is carried out.
    pub(super) async fn answers(self) -> Vec<(T, Answered)> {
        let mut answers = Vec::with_capacity(self.requests.len());
        for (purpose, request) in self.requests {
            let answered = match request {
                Request::Sent(request) => request.await,
                Request::Answered(answered) => answered,
            };
            answers.push((purpose, answered));
        }
        answers
    }
}
