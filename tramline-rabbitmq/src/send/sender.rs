//! Sends, again and again where that helps, until the broker has answered or time is up.

use super::answer::{
    Message, Next, answer, blocked, out_of_time, plain_answer, unanswered, unconfirmed,
};
use super::channel::{Outcome, Publication};
use super::publisher::Present;
use super::refusal::{forbidden, too_large};
use super::returns::Verdict;
use super::route::{Published, Route};
use super::size::Limits;
use crate::delay::HopTo;
use crate::link::{LinkState, Session, pause};
use crate::rabbitmq::Shared;
use crate::wire::write;
use futures_util::future::join_all;
use std::sync::Arc;
use tokio::sync::{SemaphorePermit, oneshot};
use tramline_core::clock::{Clock, Deadline, Entropy, SystemClock, SystemEntropy, Timestamp};
use tramline_core::transport::{CopyOf, Outgoing, Sender, Sent};
use tramline_core::{Error, Result};

/// Sends to the queues, topics and exchanges of a broker. All senders of one handle share a channel,
/// on which any number of messages is under way at once.
#[derive(Clone, Debug)]
pub struct RabbitMqSender {
    shared: Arc<Shared>,
}

impl RabbitMqSender {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

/// A message is accepted when its queue has confirmed it: a quorum queue when most of its members have
/// it on disk. What a broken connection left unconfirmed is published again on the next, under the
/// same id, so that a queue may get it twice.
///
/// While the broker takes nothing (a memory or disk alarm) and while the window of unconfirmed
/// messages is full, `send` waits. At the deadline a message that may have been written is
/// [`Sent::Unknown`], any other [`Sent::Refused`].
///
/// A batch is published in its order; what has to be published again comes behind what was taken.
///
/// Not cancel-safe: when the future is dropped, each message may or may not have been sent, and what
/// was handed to the connection may still leave.
impl Sender for RabbitMqSender {
    async fn send(&self, batch: &[Outgoing], deadline: Deadline) -> Vec<Sent> {
        // What goes without waiting for anything but the answer, as most messages do, goes a short way:
        // without a timer of its own, and with a future that is small.
        let mut begun = None;
        if let [outgoing] = batch
            && let Some(present) = self.shared.publisher.ready()
            && let Some(told) = self.submit_at_once(&present, outgoing, deadline)
        {
            let outcome = told.await.unwrap_or(Outcome::Lost(None));
            if let Some(sent) = plain_answer(&outcome, outgoing) {
                return vec![sent];
            }
            if let Outcome::TimedOut = outcome {
                return vec![out_of_time(&outgoing.to, true, self.hindrance())];
            }
            begun = Some((present, outcome));
        }
        // Boxed, as it is seldom done for one message.
        Box::pin(self.send_within(batch, begun, deadline)).await
    }
}

/// A message, and which way it goes if it is published now.
struct Planned {
    route: Route,
    publication: Box<Publication>,
}

impl Planned {
    /// Whether it is promised for a moment. A retry is to come after a while.
    fn has_moment(&self, outgoing: &Outgoing) -> bool {
        self.route.is_delayed() && !matches!(outgoing.copy, Some(CopyOf::Retry { .. }))
    }
}

/// A message that was handed to the channel.
struct Submitted<'a> {
    message: &'a mut Message,
    outgoing: &'a Outgoing,
    is_delayed: bool,
    /// In an earlier attempt.
    may_have_arrived: bool,
}

impl RabbitMqSender {
    /// Publishes `outgoing` if nothing must be waited for before. Who tells what became of it.
    fn submit_at_once(
        &self,
        present: &Present,
        outgoing: &Outgoing,
        deadline: Deadline,
    ) -> Option<oneshot::Receiver<Outcome>> {
        let now = SystemClock.now();
        // What is wrong with it is found again, and told then.
        let route = Route::of(outgoing, &self.shared.declared.names, now).ok()?;
        if route.is_delayed() || deadline.0 <= now || !present.prepared.is_prepared(&route) {
            return None;
        }
        let publication = self.publication(&present.session, outgoing, route, now).ok()?;
        let place = self.shared.publisher.place_at_once()?;
        Some(present.channel.publish(publication, place, Some(deadline.0)))
    }

    /// Sends by `deadline`. Of a single message it may have `begun`: with what became of it where.
    async fn send_within(
        &self,
        batch: &[Outgoing],
        begun: Option<(Arc<Present>, Outcome)>,
        deadline: Deadline,
    ) -> Vec<Sent> {
        let mut messages: Vec<Message> = batch.iter().map(|_| Message::default()).collect();
        tokio::select! {
            biased;
            () = self.send_all(batch, &mut messages, begun, deadline) => {}
            () = SystemClock.sleep_until(deadline.0) => {}
        }
        let sent = |(message, outgoing): (Message, &Outgoing)| match message {
            Message::Answered(sent) => sent,
            Message::Open { may_have_arrived, why } => {
                let hindrance = self.hindrance().or(why);
                out_of_time(&outgoing.to, may_have_arrived, hindrance)
            }
        };
        messages.into_iter().zip(batch).map(sent).collect()
    }

    async fn send_all(
        &self,
        batch: &[Outgoing],
        messages: &mut [Message],
        begun: Option<(Arc<Present>, Outcome)>,
        deadline: Deadline,
    ) {
        if let ([message], [outgoing], Some((present, outcome))) = (&mut *messages, batch, begun) {
            *message = Message::Open { may_have_arrived: true, why: None };
            let one = Submitted { message, outgoing, is_delayed: false, may_have_arrived: false };
            self.take_down(&present, one, outcome).await;
            if message.is_missing() {
                // Whether it may be declared yet is known only of what is asked for from now on.
                *message = Message::default();
            } else if message.is_answered() {
                return;
            } else if !present.session.has_ended() {
                tokio::time::sleep(pause(0, SystemEntropy.fraction())).await;
            }
        }
        for attempt in 0.. {
            let session = match self.shared.publishing.session(deadline).await {
                Ok(session) => session,
                Err(error) => return messages.iter_mut().for_each(|one| one.give_up(&error)),
            };
            let declared_on = self.shared.consuming.number();
            self.send_on(&session, batch, messages).await;
            if messages.iter().any(Message::is_missing)
                && !Box::pin(self.all_is_declared(declared_on)).await
            {
                messages.iter_mut().for_each(Message::look_again);
                // Its error is that of the deadline, or the next attempt's.
                let _ = self.shared.consuming.session(deadline).await;
                // It is there, and cannot be asked: it has no channel left.
                if self.shared.consuming.number() == declared_on {
                    tokio::time::sleep(pause(attempt, SystemEntropy.fraction())).await;
                }
                continue;
            }
            if messages.iter().all(Message::is_answered) {
                return;
            }
            // A new connection is waited for above; what the broker did not take on this one, it may
            // take in a while.
            if !session.has_ended() {
                tokio::time::sleep(pause(attempt, SystemEntropy.fraction())).await;
            }
        }
    }

    /// Whether what is not there now was not there for good: a broker that was started again has lost
    /// what is not durable, and this connection may be back before the one that declares it again.
    ///
    /// `on` is the number of that one before the messages were sent.
    async fn all_is_declared(&self, on: Option<u64>) -> bool {
        if !self.shared.declared.has_begun() {
            return true;
        }
        match self.shared.consuming.state() {
            // It is the same broker if it answers on it.
            LinkState::Up(session) if Some(session.number()) == on => {
                session.channel().await.is_ok()
            }
            LinkState::Up(_) | LinkState::Down { .. } => false,
            LinkState::Closed => true,
        }
    }

    /// One attempt for everything that is not answered yet.
    async fn send_on(&self, session: &Session, batch: &[Outgoing], messages: &mut [Message]) {
        let present = match self.shared.publisher.on(session).await {
            Ok(present) => present,
            Err(error) => return messages.iter_mut().for_each(|one| one.hinder(&error)),
        };
        let mut submitted = Vec::with_capacity(batch.len());
        for (message, outgoing) in messages.iter_mut().zip(batch) {
            let Message::Open { may_have_arrived, .. } = *message else { continue };
            match self.submit(session, &present, outgoing).await {
                Ok((stage, told)) => {
                    let is_delayed = stage.is_some();
                    let why = stage.map(|stage| unconfirmed(&outgoing.to, &stage));
                    *message = Message::Open { may_have_arrived: true, why };
                    let one = Submitted { message, outgoing, is_delayed, may_have_arrived };
                    submitted.push((one, told));
                }
                Err(error) if error.is_transient() => message.hinder(&error),
                Err(error) => *message = Message::Answered(unanswered(may_have_arrived, error)),
            }
        }
        // Together: one that is never answered must not keep from the others what was said of them.
        join_all(submitted.into_iter().map(|(one, told)| async {
            let outcome = told.await.unwrap_or(Outcome::Lost(None));
            self.take_down(&present, one, outcome).await;
        }))
        .await;
    }

    /// Hands `outgoing` to the channel as soon as that takes it. The stage that it waits in first, if it
    /// is delayed, and who tells what became of it.
    async fn submit(
        &self,
        session: &Session,
        present: &Present,
        outgoing: &Outgoing,
    ) -> Result<(Option<HopTo>, oneshot::Receiver<Outcome>)> {
        let mut planned = self.plan(session, outgoing)?;
        let place = self.place(session, present, outgoing, &mut planned);
        let place = session.unless_it_ends(place).await.flatten()?;
        let Planned { route, publication } = planned;
        let stage = route.hops.into_iter().next().map(|hop| hop.to);
        Ok((stage, present.channel.publish(publication, place, None)))
    }

    /// What `outgoing` is when it leaves now.
    fn plan(&self, session: &Session, outgoing: &Outgoing) -> Result<Planned> {
        let now = SystemClock.now();
        let route = Route::of(outgoing, &self.shared.declared.names, now)?;
        let publication = self.publication(session, outgoing, route.clone(), now)?;
        Ok(Planned { route, publication })
    }

    /// `outgoing` as it is published on `session` by `route`.
    ///
    /// # Errors
    /// The broker would refuse it, or has refused one like it a moment ago.
    fn publication(
        &self,
        session: &Session,
        outgoing: &Outgoing,
        route: Route,
        now: Timestamp,
    ) -> Result<Box<Publication>> {
        let properties = write(outgoing, &route.hops, now)?;
        if self.shared.publisher.recent_refusals.has_some() {
            self.shared.publisher.recent_refusals.check(&route.published(), outgoing)?;
        }
        let Route { exchange, routing_key, .. } = route;
        let envelope = outgoing.envelope.clone();
        let publication = Box::new(Publication { exchange, routing_key, properties, envelope });
        let limits = Limits {
            body_bytes_max: self.shared.options.body_bytes_max,
            frame_bytes_max: session.frame_bytes_max(),
        };
        let is_copy = outgoing.copy.is_some();
        limits.check(&publication, is_copy, || format!("send to {}", outgoing.to))?;
        Ok(publication)
    }

    /// A place in the window, when what is planned can be taken.
    ///
    /// After each wait less is left until a message is due, so its way is planned anew: what waited for
    /// its stages to be declared would be late by that.
    async fn place(
        &self,
        session: &Session,
        present: &Present,
        outgoing: &Outgoing,
        planned: &mut Planned,
    ) -> Result<SemaphorePermit<'_>> {
        /// What is left may lead through stages that are not declared either, but not for ever.
        const WAITS_MAX: usize = 8;
        let mut waits = 0;
        loop {
            present.prepared.prepare(&planned.route).await?;
            session.unblocked().await;
            let place = self.shared.publisher.place().await;
            waits += 1;
            if !planned.has_moment(outgoing) || waits == WAITS_MAX {
                return Ok(place);
            }
            *planned = self.plan(session, outgoing)?;
            if present.prepared.is_prepared(&planned.route) {
                return Ok(place);
            }
        }
    }

    /// Takes down what became of one message.
    async fn take_down(&self, present: &Present, one: Submitted<'_>, outcome: Outcome) {
        let Submitted { message, outgoing, is_delayed, may_have_arrived } = one;
        let is_refused = matches!(outcome, Outcome::Answered(Verdict::Refused));
        if is_refused {
            present.refuses();
        }
        let is_limited = is_refused
            && !is_delayed
            && self.shared.declared.can_be_full(&self.shared.consuming, &outgoing.to).await;
        let refusal = |broken: &lapin::Error| self.refusal(broken, outgoing, is_delayed);
        match answer(outcome, outgoing, is_delayed, || is_limited, refusal) {
            Next::Answer(Sent::Refused(error)) => {
                *message = Message::Answered(unanswered(may_have_arrived, error));
            }
            Next::Answer(sent) => *message = Message::Answered(sent),
            Next::Again { why, may_have_arrived: this_time } => {
                if is_delayed {
                    present.prepared.forget_stages();
                }
                let may_have_arrived = may_have_arrived || this_time;
                *message = Message::Open { may_have_arrived, why: Some(why) };
            }
        }
    }

    /// What the broker refused to this message when it closed the channel, if it was to this one.
    fn refusal(
        &self,
        broken: &lapin::Error,
        outgoing: &Outgoing,
        is_delayed: bool,
    ) -> Option<Error> {
        let published = Published::of(outgoing, &self.shared.declared.names, is_delayed)?;
        let Some((forbidden, said)) = forbidden(broken, &published) else {
            return too_large(broken, outgoing);
        };
        let error = forbidden.error(outgoing, &said);
        self.shared.publisher.recent_refusals.add(forbidden, said);
        Some(error)
    }

    /// What is wrong with the connection, if something is.
    fn hindrance(&self) -> Option<Error> {
        match self.shared.publishing.state() {
            LinkState::Up(session) => session.blocked().map(|why| blocked(why.reason)),
            LinkState::Down { error, .. } => Some(error),
            LinkState::Closed => None,
        }
    }
}
