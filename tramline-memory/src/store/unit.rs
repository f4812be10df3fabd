//! A unit of work is carried out: the writes run beside the state, and only if all went well is
//! anything changed. So there is nothing to undo.

use super::db::Db;
use crate::posting::{Origin, Posting};
use crate::routes::QueueNumber;
use crate::shared::Shared;
use crate::state::State;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tramline_core::Failure;
use tramline_core::compose::{Publishing, Scope};
use tramline_core::store::CommitError;
use tramline_core::transport::Outgoing;

/// What is to be done beside the writes.
#[derive(Default)]
pub(super) struct Unit<'a> {
    /// Who publishes; `None`: nobody may.
    scope: Option<&'a Scope>,
    /// Messages that go out behind those which the writes publish.
    buffered: Vec<Outgoing>,
    /// Queues that a handled message leaves in the same change.
    left: Vec<(QueueNumber, i64)>,
}

impl<'a> Unit<'a> {
    pub(super) fn of(scope: &'a Scope) -> Self {
        Self { scope: Some(scope), ..Self::default() }
    }

    pub(super) fn with(self, buffered: Vec<Outgoing>) -> Self {
        Self { buffered, ..self }
    }

    /// The messages that are acked with it make room for those that it sends.
    pub(super) fn leaving(self, left: Vec<(QueueNumber, i64)>) -> Self {
        Self { left, ..self }
    }

    /// Runs `writes`, and applies their changes and messages if they succeed. `posting` was made
    /// outside of the state's lock.
    pub(super) fn perform<T>(
        self,
        state: &mut State,
        posting: Posting<'_>,
        writes: impl FnOnce(&mut Db<'_>) -> Result<T, Failure>,
    ) -> Result<T, CommitError> {
        let mut db = Db::new(&state.tables, self.scope);
        // A closure that panics has only touched the overlay, which is dropped with it.
        let result = catch_unwind(AssertUnwindSafe(|| writes(&mut db)))
            .unwrap_or_else(|panic| Err(panicked(&*panic)));
        let answer = result.map_err(CommitError::Handler)?;
        let (changes, mut outgoing) = db.into_parts();
        outgoing.extend(self.buffered);
        if let Some(scope) = self.scope {
            let mut ordinal = 0;
            outgoing.iter_mut().for_each(|outgoing| scope.number(outgoing, &mut ordinal));
            match scope.publishing {
                Publishing::Queues => {
                    let copies = outgoing.iter().map(|outgoing| posting.copies(outgoing));
                    let posted = copies
                        .collect::<tramline_core::Result<_>>()
                        .and_then(|messages| state.post_together(messages, &self.left));
                    posted.map_err(|error| CommitError::Handler(error.into()))?;
                    posting.shared.accepted(&outgoing);
                }
                Publishing::Outbox => {
                    state.rings.appended |= !outgoing.is_empty();
                    outgoing.into_iter().for_each(|outgoing| state.outbox.append(outgoing));
                }
            }
        }
        state.tables.apply(changes);
        Ok(answer)
    }
}

/// A unit of work that depends on nothing but its writes.
pub(super) fn unconditional<T>(
    shared: &Shared,
    unit: Unit<'_>,
    writes: impl FnOnce(&mut Db<'_>) -> Result<T, Failure>,
) -> Result<T, CommitError> {
    let posting = Posting::new(shared, Origin::Transaction);
    shared.change(|state| unit.perform(state, posting, writes))
}

/// A panic with a text is a failure of that text.
fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Failure::retryable(format!("a write panicked: {}", text.unwrap_or("without a text")))
}
