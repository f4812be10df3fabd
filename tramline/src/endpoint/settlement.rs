//! What becomes of a delivery: decided in a pure function.

use crate::Failure;
use crate::endpoint::placed::Hold;
use crate::endpoint::shared::{HeldTooLong, UnhandledPolicy};
use crate::endpoint::suspects::{acquitted, poison, untried};
use crate::retry::Retries;
use std::time::Duration;
use tramline_core::clock::Timestamp;
use tramline_core::dead::{FailureNote, Reason};
use tramline_core::failure::Verdict;
use tramline_core::settlement::{Marks, Settlement};

/// How work on a delivery ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// Handled, and its effects are durable.
    Handled,
    /// Handled, and the ack was part of the store's transaction.
    SettledByStore,
    /// Not for us: no rule lets it through.
    Filtered,
    /// Its time was over.
    Expired,
    /// The handler failed.
    Failed(Failure),
    /// Nobody here knows its type.
    Unknown(String),
    /// Handled before.
    Duplicate,
    /// The sender's key came again with another body.
    KeyReused,
    /// Somebody else is at work on it.
    Busy,
    /// It was handled alone, again and again, and nobody heard the end of it.
    Poison,
    /// It was to be handled alone, and nobody knows whether that was recorded. What is known of it
    /// otherwise.
    Untried(Marks),
    /// Nobody knows whether the commit went through.
    Unanswered,
    /// The bus stops.
    Abandoned,
    /// The circuit breaker let nobody through.
    Shut,
    /// The circuit breaker has tried with it whether the dependency is back: again after so long.
    ProbeFailed(Duration),
    /// It is somebody else's now.
    LeaseLost,
}

/// What is to be done about a delivery.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Settle it so.
    Settle(Settlement),
    /// Keep it in its lane, and handle it again.
    Hold(Hold),
    /// The store has acked it.
    Taken,
    /// Let go of it: it is not ours.
    Forget,
}

/// What is known about a delivery.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    /// Failures, those of this delivery included, but for the one in `Ending::Failed`.
    pub(crate) failures: u32,
    /// What went wrong in this delivery before, in place.
    pub(crate) notes: &'a [FailureNote],
    pub(crate) marks: Marks,
    /// It was handled alone in this delivery.
    pub(crate) is_tried: bool,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) now: Timestamp,
    /// It stays away for so long at least, if it comes again.
    pub(crate) pause_min: Duration,
    /// The chance that jitter draws.
    pub(crate) fraction: f64,
}

/// How long a message that somebody else is at work on stays away.
const BUSY_PAUSE: Duration = Duration::from_millis(100);
/// How long a message stays away of whose commit nobody knows: a store that cannot answer is not
/// asked again at once.
const UNANSWERED_PAUSE: Duration = Duration::from_secs(1);

/// How long a message stays away whose trial could not be recorded.
const UNMARKED_PAUSE: Duration = Duration::from_secs(1);

/// Decides.
pub(crate) fn settlement(
    ending: &Ending,
    record: Record<'_>,
    retries: &Retries,
    unhandled: UnhandledPolicy,
) -> Action {
    let Record { failures, notes, marks, .. } = record;
    let back = |after, marks| Settlement::Retry { after, failures, notes: notes.to_vec(), marks };
    let dead = |reason, notes| Settlement::DeadLetter { reason, failures, notes };
    Action::Settle(match ending {
        Ending::Handled | Ending::Filtered | Ending::Duplicate => Settlement::Ack,
        Ending::SettledByStore => return Action::Taken,
        Ending::LeaseLost => return Action::Forget,
        // A trial that was cut short says nothing about the message, and must not count.
        Ending::Abandoned | Ending::Shut if record.is_tried => back(Duration::ZERO, untried(marks)),
        Ending::Abandoned | Ending::Shut => Settlement::Return,
        Ending::ProbeFailed(after) => back(*after, record.marks_after()),
        Ending::Unanswered => back(UNANSWERED_PAUSE, record.marks_after()),
        // Written back, because the mark may be there: it would count, and nothing has run.
        Ending::Untried(marks) => back(UNMARKED_PAUSE, *marks),
        Ending::Poison => dead(Reason::Poison, record.and(failures, poison(marks.trials))),
        Ending::Expired => dead(Reason::Expired, notes.to_vec()),
        Ending::Busy => back(BUSY_PAUSE, record.marks_after()),
        Ending::KeyReused => {
            let text = "the idempotency key was used before, for another body".to_owned();
            dead(Reason::KeyReused, record.and(failures, text))
        }
        Ending::Unknown(why) => unknown(why, record, unhandled),
        Ending::Failed(failure) => failed(failure, record, retries, unhandled),
    })
}

/// What becomes in its lane of a delivery that may stay there for `left`: it is not retried through
/// the transport, where others would overtake it.
pub(crate) fn in_lane(
    action: Action,
    ending: &Ending,
    record: Record<'_>,
    left: Duration,
    too_long: Option<HeldTooLong>,
) -> Action {
    match ending {
        // What a trial that was cut short must not count for has to be written down.
        Ending::Abandoned => return action,
        // What was kept from running keeps its place.
        Ending::Shut => {
            let Record { failures, notes, marks, is_tried, .. } = record;
            let (notes, has_begun) = (notes.to_vec(), !notes.is_empty());
            let marks = if is_tried { untried(marks) } else { marks };
            return Action::Hold(Hold { after: Duration::ZERO, failures, notes, marks, has_begun });
        }
        _ => {}
    }
    let Action::Settle(Settlement::Retry { after, failures, mut notes, marks }) = action else {
        return action;
    };
    if after <= left {
        return Action::Hold(Hold { after, failures, notes, marks, has_begun: true });
    }
    Action::Settle(match (too_long, ending) {
        (Some(HeldTooLong::LetGo), _) => Settlement::Retry { after, failures, notes, marks },
        (Some(HeldTooLong::DeadLetter), Ending::Failed(_)) if marks.unhandled_since.is_none() => {
            Settlement::DeadLetter { reason: Reason::Exhausted, failures, notes }
        }
        (Some(HeldTooLong::DeadLetter), Ending::Failed(_) | Ending::Unknown(_)) => {
            let error = match ending {
                Ending::Unknown(why) => why.clone(),
                _ => "its type was unknown until its broker would not let it wait".to_owned(),
            };
            notes.push(FailureNote { at: record.now, failure: failures, error });
            Settlement::DeadLetter { reason: Reason::Unhandled, failures, notes }
        }
        // It begins anew: its place in the queue is worth more than its count.
        _ => Settlement::Return,
    })
}

fn failed(
    failure: &Failure,
    record: Record<'_>,
    retries: &Retries,
    unhandled: UnhandledPolicy,
) -> Settlement {
    let failures = record.failures.saturating_add(1);
    let notes = record.and(failures, failure.chain());
    let is_expired = record.expires_at.is_some_and(|at| at <= record.now);
    let reason = match failure.verdict() {
        Verdict::Unhandled => return unknown(&failure.chain(), record, unhandled),
        Verdict::DeadLetter(reason) => reason.clone(),
        // The failure counts; that its time is over charges nothing more.
        _ if is_expired => Reason::Expired,
        _ => match retries.policy(failure).pause(failures, record.fraction) {
            Some(after) => {
                // Its type is known here: should it be unknown again, it has its whole time.
                let marks = Marks { unhandled_since: None, ..record.marks_after() };
                let after = after.max(record.pause_min);
                return Settlement::Retry { after, failures, notes, marks };
            }
            None => Reason::Exhausted,
        },
    };
    Settlement::DeadLetter { reason, failures, notes }
}

/// A newer instance may know the type, so it waits, uncharged, but not for ever.
fn unknown(why: &str, record: Record<'_>, policy: UnhandledPolicy) -> Settlement {
    let (failures, now, mut marks) = (record.failures, record.now, record.marks_after());
    let since = *marks.unhandled_since.get_or_insert(now);
    if now.since(since) >= policy.limit {
        let notes = record.and(failures, why.to_owned());
        return Settlement::DeadLetter { reason: Reason::Unhandled, failures, notes };
    }
    Settlement::Retry { after: policy.pause, failures, notes: record.notes.to_vec(), marks }
}

impl Record<'_> {
    /// What the message is known by from now on: who comes back from a trial is no suspect.
    fn marks_after(&self) -> Marks {
        if self.is_tried { acquitted(self.marks) } else { self.marks }
    }

    /// The notes of this delivery, and one more.
    fn and(&self, failure: u32, error: String) -> Vec<FailureNote> {
        let last = FailureNote { at: self.now, failure, error };
        self.notes.iter().cloned().chain([last]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Retry;

    const SECOND: Duration = Duration::from_secs(1);

    fn record(failures: u32) -> Record<'static> {
        let marks = Marks { trials: 1, unhandled_since: None };
        Record {
            failures,
            notes: &[],
            marks,
            is_tried: false,
            expires_at: None,
            now: Timestamp::from_millis(7),
            pause_min: Duration::ZERO,
            fraction: 1.0,
        }
    }

    fn decide(ending: Ending, record: Record<'_>) -> Action {
        let retries = Retries::of(Retry::fixed(SECOND).runs(3));
        settlement(&ending, record, &retries, UnhandledPolicy::default())
    }

    #[test]
    fn success_filtered_and_duplicate_are_acked() {
        for ending in [Ending::Handled, Ending::Filtered, Ending::Duplicate] {
            assert_eq!(decide(ending, record(0)), Action::Settle(Settlement::Ack));
        }
    }

    #[test]
    fn what_the_store_acked_is_not_settled_again_and_what_is_lost_is_left_alone() {
        assert_eq!(decide(Ending::SettledByStore, record(0)), Action::Taken);
        assert_eq!(decide(Ending::LeaseLost, record(0)), Action::Forget);
    }

    #[test]
    fn abandoned_work_comes_back_untouched() {
        assert_eq!(decide(Ending::Abandoned, record(2)), Action::Settle(Settlement::Return));
    }

    #[test]
    fn a_failure_is_charged_and_retried_until_the_policy_ends() {
        for failures in 0..2 {
            let ending = Ending::Failed(Failure::retryable("gateway down"));
            let Action::Settle(Settlement::Retry { after, failures: total, notes, marks }) =
                decide(ending, record(failures))
            else {
                panic!("not retried")
            };
            assert_eq!((after, total), (SECOND, failures + 1));
            assert_eq!(notes[0].error, "gateway down");
            assert_eq!(marks.trials, 1, "marks travel on");
        }
        let ending = Ending::Failed(Failure::retryable("gateway down"));
        assert!(matches!(
            decide(ending, record(2)),
            Action::Settle(Settlement::DeadLetter { reason: Reason::Exhausted, failures: 3, .. })
        ));
    }

    #[test]
    fn an_expired_message_is_not_retried() {
        for (expires_at, is_retried) in [(7, false), (8, true)] {
            let expires_at = Some(Timestamp::from_millis(expires_at));
            let ending = Ending::Failed(Failure::retryable("gateway down"));
            match decide(ending, Record { expires_at, ..record(0) }) {
                Action::Settle(Settlement::Retry { .. }) => assert!(is_retried),
                Action::Settle(Settlement::DeadLetter { reason, failures, notes }) => {
                    assert!(!is_retried);
                    assert_eq!((reason, failures, notes.len()), (Reason::Expired, 1, 1));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn who_comes_back_from_a_trial_is_no_suspect_and_a_trial_cut_short_does_not_count() {
        let marks = Marks { trials: 2, unhandled_since: None };
        let tried = Record { marks, is_tried: true, ..record(0) };
        let unanswered = || Ending::Unanswered;
        for (ending, trials) in [
            (Ending::Failed(Failure::retryable("gateway down")), 0),
            (Ending::Busy, 0),
            (unanswered(), 0),
            (Ending::Abandoned, 1),
        ] {
            let Action::Settle(Settlement::Retry { marks, .. }) = decide(ending, tried) else {
                panic!("not retried")
            };
            assert_eq!(marks.trials, trials);
        }
    }

    #[test]
    fn a_permanent_failure_is_not_retried() {
        let ending = Ending::Failed(Failure::permanent("nothing to charge"));
        assert!(matches!(
            decide(ending, record(0)),
            Action::Settle(Settlement::DeadLetter { reason: Reason::Permanent, failures: 1, .. })
        ));
    }

    #[test]
    fn an_unknown_type_waits_uncharged_and_dies_after_its_limit() {
        let unknown = || Ending::Unknown("no handler for message x".to_owned());
        let Action::Settle(Settlement::Retry { failures: 4, notes, marks, .. }) =
            decide(unknown(), record(4))
        else {
            panic!("it does not wait")
        };
        assert_eq!((marks.unhandled_since, notes), (Some(Timestamp::from_millis(7)), Vec::new()));
        let late =
            Record { marks, now: Timestamp::from_millis(7).after(900 * SECOND), ..record(4) };
        assert!(matches!(
            decide(unknown(), late),
            Action::Settle(Settlement::DeadLetter { reason: Reason::Unhandled, failures: 4, .. })
        ));
    }

    #[test]
    fn a_reused_key_and_an_expired_message_die_uncharged() {
        for (ending, word) in [(Ending::KeyReused, "key reused"), (Ending::Expired, "expired")] {
            let Action::Settle(Settlement::DeadLetter { reason, failures, .. }) =
                decide(ending, record(1))
            else {
                panic!("{word} does not die")
            };
            assert_eq!((reason.as_str(), failures), (word, 1));
        }
    }
}
