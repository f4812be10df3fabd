//! Asking through a bus.

use super::fault::Fault;
use super::{Request, RequestError};
use crate::bus::Bus;
use crate::{BoxFuture, Message};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tramline_core::clock::Deadline;
use tramline_core::compose::Target;
use tramline_core::draft::{Dispatch, Draft};
use tramline_core::envelope::Envelope;
use tramline_core::name::{BadName, QueueName};
use tramline_core::transport::{Outgoing, Sent};
use tramline_core::{Error, ErrorKind};

/// How long a request waits for its reply, where its `.ttl(…)` does not say.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// Sends a draft as a request when it is awaited, and waits for the reply.
#[derive(Debug)]
pub struct Asking<'a, R> {
    bus: &'a Bus,
    queue: Result<QueueName, BadName>,
    reply: PhantomData<fn() -> R>,
}

impl Bus {
    /// Sends a request to exactly one queue, which must exist, and waits for its reply. Add options, then
    /// `.await`.
    ///
    /// It waits as long as its `.ttl(…)` says, [`REQUEST_LIMIT`] if that is not said; then the request expires:
    /// nobody begins with it any more. The queue's responder is [`Endpoint::respond`](crate::Endpoint::respond),
    /// or whoever answers to the message's reply address with its correlation id. The reply comes to a
    /// temporary queue, which is made for the first request of a bus.
    ///
    /// Dropped, it does not wait any more, and the request may be handled nevertheless: its reply is late, and
    /// dropped and counted (`tramline_late_replies_total`). A request that is sent again under an id or an
    /// idempotency key that a transactional responder has seen is taken for a duplicate, and has no second
    /// reply. A responder that dies before it has answered is asked again by its queue; if it does not come
    /// back in time, the request has timed out.
    ///
    /// # Errors
    /// See [`RequestError`]. Transports without temporary queues refuse it as
    /// [`ErrorKind::Unsupported`].
    pub fn request<'a, R: Request>(
        &'a self,
        queue: &str,
        request: &'a R,
    ) -> Draft<'a, R, Asking<'a, R>> {
        let asking = Asking { bus: self, queue: QueueName::new(queue), reply: PhantomData };
        Draft::of(request).through(asking)
    }
}

impl<R: Request> Dispatch for Asking<'_, R> {
    type Output = Result<R::Reply, RequestError>;

    fn dispatch<'a, M: Message>(
        self,
        draft: Draft<'a, M>,
    ) -> BoxFuture<'a, Result<R::Reply, RequestError>>
    where
        Self: 'a,
    {
        let (bus, outgoing) = (self.bus, self.compose(draft));
        Box::pin(async move { ask::<R>(bus, outgoing.map_err(RequestError::NotSent)?).await })
    }
}

impl<R: Request> Asking<'_, R> {
    fn compose<M: Message>(&self, draft: Draft<'_, M>) -> Result<Outgoing, Error> {
        let queue = self
            .queue
            .clone()
            .map_err(|bad| Error::new(ErrorKind::Misconfigured, "send a request").because(bad))?;
        let composed = self.bus.scope().compose(draft, Target::Queue(queue));
        composed.map_err(|failure| {
            Error::new(ErrorKind::Refused, "send a request").because(failure.to_string())
        })
    }
}

async fn ask<R: Request>(bus: &Bus, mut outgoing: Outgoing) -> Result<R::Reply, RequestError> {
    let running = bus.inner();
    let clock = &running.composer.clock;
    let began = clock.now();
    if let Some(closed) = bus.closed() {
        return Err(RequestError::NotSent(closed));
    }
    let until = *Arc::make_mut(&mut outgoing.envelope)
        .expires_at
        .get_or_insert_with(|| outgoing.due.unwrap_or(began).after(REQUEST_LIMIT));
    let is_begun = AtomicBool::new(false);
    let asked = async {
        let (desk, address) = running.replies.open(bus).await.map_err(RequestError::NotSent)?;
        let envelope = Arc::make_mut(&mut outgoing.envelope);
        envelope.reply_to = Some(address);
        let Some(id) = envelope.id.clone() else {
            let error =
                Error::new(ErrorKind::Corrupt, format!("send to {}: it has no id", outgoing.to));
            return Err(RequestError::NotSent(error));
        };
        envelope.correlation_id.get_or_insert_with(|| id.to_string());
        let Some(mut waiting) = desk.wait_for(id) else {
            let error = Error::new(ErrorKind::Conflict, format!("send to {}", outgoing.to));
            let error = error.because("a request with this id waits for its reply already");
            return Err(RequestError::NotSent(error));
        };
        is_begun.store(true, Relaxed);
        send(bus, &outgoing, Deadline(until.min(bus.send_deadline().0))).await?;
        let reply: Arc<Envelope> = waiting.reply().await;
        read::<R>(bus, &reply)
    };
    tokio::select! {
        biased;
        reply = asked => reply,
        error = ended(bus) => Err(if is_begun.load(Relaxed) {
            RequestError::Unanswered { request: R::NAME, error }
        } else {
            RequestError::NotSent(error)
        }),
        () = clock.sleep_until(until) => {
            Err(RequestError::TimedOut { request: R::NAME, after: until.since(began) })
        }
    }
}

/// Ends when the bus has no replies any more: it is drained, or this program is outdated.
async fn ended(bus: &Bus) -> Error {
    let running = bus.inner();
    let outdated = async {
        running.stopping.begun().await;
        match running.stopping.why() {
            Some(why) => why.clone(),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        error = outdated => error,
        () = running.killed.cancelled() => Error::closed("the bus"),
    }
}

/// Ends when the request is in its queue, or may be.
async fn send(bus: &Bus, outgoing: &Outgoing, deadline: Deadline) -> Result<(), RequestError> {
    let sent = bus.sender().send_dyn(std::slice::from_ref(outgoing), deadline).await;
    match sent.into_iter().next() {
        Some(Sent::Accepted { .. }) => Ok(()),
        Some(Sent::Refused(error)) => {
            bus.inner().stopping.heed(&error);
            Err(RequestError::NotSent(error))
        }
        // It may have arrived: then there will be a reply.
        Some(Sent::Unknown(_)) | None => Ok(()),
    }
}

fn read<R: Request>(bus: &Bus, reply: &Envelope) -> Result<R::Reply, RequestError> {
    let encoding = &bus.inner().composer.encoding;
    let bad = |why: String| RequestError::BadReply { request: R::NAME, why };
    match reply.name.as_deref() {
        Some(Fault::NAME) => {
            let fault = encoding
                .decode::<Fault>(&reply.body)
                .map_err(|failure| bad(failure.to_string()))?;
            Err(RequestError::Failed { request: R::NAME, failure: fault.0 })
        }
        Some(name) if name != R::Reply::NAME => {
            Err(bad(format!("it is a message {name}, and {} was asked for", R::Reply::NAME)))
        }
        _ if reply.version > R::Reply::VERSION => {
            let (is, known) = (reply.version, R::Reply::VERSION);
            Err(bad(format!("it is of version {is}, and this program knows up to {known}")))
        }
        // Others may give no name.
        _ => encoding.decode(&reply.body).map_err(|failure| bad(failure.to_string())),
    }
}
