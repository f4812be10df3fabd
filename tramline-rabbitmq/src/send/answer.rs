//! What the sender answers, and when it tries again. Pure.

use super::channel::Outcome;
use super::returns::Verdict;
use crate::delay::HopTo;
use crate::error;
use tramline_core::transport::{Destination, Outgoing, Sent};
use tramline_core::{Error, ErrorKind};

/// How far a message has come.
#[derive(Debug)]
pub(crate) enum Message {
    /// Nothing is known for sure.
    Open {
        /// It was sent at least once.
        may_have_arrived: bool,
        /// What stood in its way last.
        why: Option<Error>,
    },
    /// It has its answer.
    Answered(Sent),
}

/// What follows from an outcome.
#[derive(Debug)]
pub(crate) enum Next {
    /// The sender answers.
    Answer(Sent),
    /// It may be otherwise in a while, or on another connection.
    Again {
        /// What stood in its way.
        why: Error,
        /// It may have arrived all the same.
        may_have_arrived: bool,
    },
}

impl Default for Message {
    fn default() -> Self {
        Self::Open { may_have_arrived: false, why: None }
    }
}

impl Message {
    /// Takes down what stands in its way, unless it is answered.
    pub(crate) fn hinder(&mut self, error: &Error) {
        if let Self::Open { why, .. } = self {
            *why = Some(error.clone());
        }
    }

    /// Whether it has its answer.
    pub(crate) fn is_answered(&self) -> bool {
        matches!(self, Self::Answered(_))
    }

    /// Whether it is answered that there is nothing that it could be sent to.
    pub(crate) fn is_missing(&self) -> bool {
        let Self::Answered(Sent::Refused(error) | Sent::Unknown(error)) = self else {
            return false;
        };
        error.kind() == ErrorKind::NotFound
    }

    /// Takes the answer back if it was that there is nothing there.
    pub(crate) fn look_again(&mut self) {
        if self.is_missing()
            && let Self::Answered(Sent::Refused(error) | Sent::Unknown(error)) = &*self
        {
            let may_have_arrived = matches!(self, Self::Answered(Sent::Unknown(_)));
            *self = Self::Open { may_have_arrived, why: Some(error.clone()) };
        }
    }

    /// Answers with `error`, unless it is answered.
    pub(crate) fn give_up(&mut self, error: &Error) {
        if let Self::Open { may_have_arrived, .. } = self {
            *self = Self::Answered(unanswered(*may_have_arrived, error.clone()));
        }
    }
}

/// The answer to `outgoing`, undelayed, when that is all that follows from `outcome`.
pub(crate) fn plain_answer(outcome: &Outcome, outgoing: &Outgoing) -> Option<Sent> {
    let is_queue = matches!(outgoing.to, Destination::Queue(_));
    match outcome {
        Outcome::Answered(Verdict::Stored) => Some(Sent::Accepted { routed: Some(true) }),
        Outcome::Answered(Verdict::Returned(_)) if !is_queue => {
            Some(Sent::Accepted { routed: Some(false) })
        }
        _ => None,
    }
}

/// What follows from `outcome`. `is_limited` says whether the queue is known to refuse messages when it
/// is full, `refusal` what the broker refused to this message when it closed the channel, if anything.
pub(crate) fn answer(
    outcome: Outcome,
    outgoing: &Outgoing,
    is_delayed: bool,
    is_limited: impl FnOnce() -> bool,
    refusal: impl FnOnce(&lapin::Error) -> Option<Error>,
) -> Next {
    let to = &outgoing.to;
    let is_queue = matches!(to, Destination::Queue(_));
    match outcome {
        Outcome::Answered(Verdict::Stored) => {
            // Whether there is a queue shows only when it is due.
            Next::Answer(Sent::Accepted { routed: (!is_delayed).then_some(true) })
        }
        Outcome::Answered(Verdict::Returned(_)) if is_delayed => {
            let error = error(ErrorKind::Unavailable, to);
            let why = error.because("a stage of the delay was deleted; it is declared again");
            Next::Again { why, may_have_arrived: false }
        }
        Outcome::Answered(Verdict::Returned(why)) if is_queue => {
            let error = error(ErrorKind::NotFound, to);
            Next::Answer(Sent::Refused(error.because(format!("there is no such queue: {why}"))))
        }
        Outcome::Answered(Verdict::Returned(_)) => {
            Next::Answer(Sent::Accepted { routed: Some(false) })
        }
        Outcome::Answered(Verdict::Refused) if !is_delayed && is_limited() => {
            let error = error(ErrorKind::Full, to);
            Next::Answer(Sent::Refused(error.because("the queue is at its maximum length")))
        }
        Outcome::Answered(Verdict::Refused) => {
            let why = "a queue did not take it: it is full, or elects a leader";
            let why = error(ErrorKind::Unavailable, to).because(why);
            // Of several queues, others may have it; and a leader may fall that has passed it on.
            Next::Again { why, may_have_arrived: true }
        }
        Outcome::Lost(broken) => match broken.as_ref().and_then(refusal) {
            Some(refused) => Next::Answer(Sent::Refused(refused)),
            None => Next::Again { why: lost(broken, to), may_have_arrived: true },
        },
        Outcome::Unsent(broken) => Next::Again { why: lost(broken, to), may_have_arrived: false },
        Outcome::TimedOut => Next::Answer(out_of_time(to, true, None)),
    }
}

/// The answer at the deadline; `hindrance` is what stood in the way.
pub(crate) fn out_of_time(
    to: &Destination,
    may_have_arrived: bool,
    hindrance: Option<Error>,
) -> Sent {
    let kind = if may_have_arrived { ErrorKind::TimedOut } else { ErrorKind::Unavailable };
    let error = error(kind, to);
    let error = match hindrance {
        Some(hindrance) => error.because(format!("time is up: {hindrance}")),
        None => error.because("the broker did not confirm it in time"),
    };
    unanswered(may_have_arrived, error)
}

/// What stands in the way of a delayed message until the broker has answered.
pub(crate) fn unconfirmed(to: &Destination, stage: &HopTo) -> Error {
    let why = format!("the stage of the delay, {stage}, has not confirmed it");
    error(ErrorKind::Unavailable, to).because(why)
}

/// The broker takes nothing, for `reason`.
pub(crate) fn blocked(reason: String) -> Error {
    Error::new(ErrorKind::Unavailable, "publish: the broker takes nothing now").because(reason)
}

/// The answer of a message that was not taken this time: who was told that it was not sent may send it
/// again under another id.
pub(crate) fn unanswered(may_have_arrived: bool, error: Error) -> Sent {
    if may_have_arrived { Sent::Unknown(error) } else { Sent::Refused(error) }
}

/// An error about sending to `to`.
pub(super) fn error(kind: ErrorKind, to: &Destination) -> Error {
    Error::new(kind, format!("send to {to}"))
}

fn lost(broken: Option<lapin::Error>, to: &Destination) -> Error {
    match broken {
        Some(broken) => error::failed(format!("send to {to}"), broken),
        None => error(ErrorKind::Unavailable, to).because("the connection broke"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapin::ErrorKind as Reported;
    use lapin::protocol::{AMQPError, AMQPSoftError};
    use tramline_core::envelope::Envelope;
    use tramline_core::name::{QueueName, QueueRef, TopicName};

    fn to(to: Destination) -> Outgoing {
        let envelope = Envelope { body: vec![0; 17].into(), ..Envelope::default() };
        Outgoing { to, envelope: envelope.into(), due: None, copy: None }
    }

    fn queue() -> Outgoing {
        to(Destination::Queue(QueueRef::Main(QueueName::foreign("work"))))
    }

    fn topic() -> Outgoing {
        let (name, subject) = (TopicName::foreign("orders"), "orders.placed".into());
        to(Destination::Topic { name, subject })
    }

    fn next(outcome: Outcome, outgoing: &Outgoing) -> Next {
        answer(outcome, outgoing, false, || false, |_| None)
    }

    fn returned() -> Outcome {
        Outcome::Answered(Verdict::Returned("NO_ROUTE (312)".to_owned()))
    }

    fn routed(next: Next) -> Option<bool> {
        let Next::Answer(Sent::Accepted { routed }) = next else { panic!("{next:?}") };
        routed
    }

    fn refused(next: Next) -> Error {
        let Next::Answer(Sent::Refused(error)) = next else { panic!("{next:?}") };
        assert!(error.to_string().starts_with("failed to send to "), "{error}");
        error
    }

    fn may_have_arrived(next: Next) -> bool {
        let Next::Again { may_have_arrived, .. } = next else { panic!("{next:?}") };
        may_have_arrived
    }

    #[test]
    fn what_was_returned_had_no_queue_or_no_subscriber() {
        let error = refused(next(returned(), &queue()));
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("queue work: there is no such queue"), "{error}");
        let address = to(Destination::Address("gone".to_owned()));
        assert_eq!(routed(next(returned(), &address)), Some(false));
        assert_eq!(routed(next(returned(), &topic())), Some(false));
        // No queue was meant: the stage is missing.
        assert!(!may_have_arrived(answer(returned(), &queue(), true, || false, |_| None)));
    }

    #[test]
    fn of_a_delayed_message_nobody_knows_yet_whether_there_will_be_a_queue() {
        let stored = || Outcome::Answered(Verdict::Stored);
        assert_eq!(routed(next(stored(), &queue())), Some(true));
        assert_eq!(routed(answer(stored(), &queue(), true, || false, |_| None)), None);
    }

    #[test]
    fn a_queue_that_is_known_to_be_limited_is_full_and_another_may_take_it_later() {
        let refusal = || Outcome::Answered(Verdict::Refused);
        let full = refused(answer(refusal(), &queue(), false, || true, |_| None));
        assert_eq!(full.kind(), ErrorKind::Full);
        assert!(may_have_arrived(next(refusal(), &queue())));
        // It is the stage that did not take it.
        assert!(may_have_arrived(answer(refusal(), &queue(), true, || true, |_| None)));
    }

    #[test]
    fn what_was_lost_may_have_arrived_and_what_was_not_written_cannot_have() {
        assert!(may_have_arrived(next(Outcome::Lost(None), &queue())));
        assert!(!may_have_arrived(next(Outcome::Unsent(None), &queue())));
    }

    #[test]
    fn only_the_message_that_closed_the_channel_is_refused() {
        let denied = || {
            let error = AMQPError::new(AMQPSoftError::ACCESSREFUSED.into(), "denied".into());
            Outcome::Lost(Some(Reported::ProtocolError(error).into()))
        };
        let refusal =
            |_: &lapin::Error| Some(Error::new(ErrorKind::Refused, "send to topic orders"));
        let refused_alone = answer(denied(), &topic(), false, || false, refusal);
        assert_eq!(refused(refused_alone).kind(), ErrorKind::Refused);
        assert!(may_have_arrived(next(denied(), &queue())));
    }

    #[test]
    fn at_the_deadline_the_answer_says_whether_it_may_have_arrived_and_what_stood_in_the_way() {
        let hindrance = || Some(blocked("low on memory".to_owned()));
        match out_of_time(&queue().to, false, hindrance()) {
            Sent::Refused(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                assert!(error.to_string().contains("queue work: time is up"), "{error}");
                assert!(error.to_string().contains("low on memory"), "{error}");
            }
            other => panic!("{other:?}"),
        }
        match out_of_time(&queue().to, true, None) {
            Sent::Unknown(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
            other => panic!("{other:?}"),
        }
    }
}
