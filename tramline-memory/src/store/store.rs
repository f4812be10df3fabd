//! The store's contract.

use super::inbox::refusal;
use super::tx::MemoryTx;
use super::unit::Unit;
use super::writer::MemoryWriter;
use crate::memory::Memory;
use crate::posting::{Origin, Posting};
use crate::routes::QueueNumber;
use crate::state::{Claim, State};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use tramline_core::clock::Timestamp;
use tramline_core::compose::Scope;
use tramline_core::settlement::Settlement;
use tramline_core::store::{
    CommitError, Committed, Condition, DatabaseId, InboxKey, Outbox, Refusal, Schedules, Sighting,
    Store,
};
use tramline_core::transport::{Outgoing, Ticket};
use tramline_core::{Error, ErrorKind, Result};

/// Nothing here waits: a commit is done when its future is first polled, and never half done.
impl Store for Memory {
    type Tx = MemoryTx;
    type Writer = MemoryWriter;

    fn database(&self) -> DatabaseId {
        self.shared.database.clone()
    }

    async fn begin(&self, scope: Scope) -> Result<MemoryTx> {
        Ok(MemoryTx::new(self, scope))
    }

    async fn commit(
        &self,
        tx: MemoryTx,
        conditions: Vec<Condition>,
        buffered: Vec<Outgoing>,
    ) -> Result<Committed, CommitError> {
        self.check_tickets(&conditions).map_err(CommitError::Store)?;
        let (scope, writes) = (tx.scope, tx.writes.into_inner());
        let now = scope.composer.clock.now();
        let posting = Posting::new(&self.shared, Origin::Transaction);
        self.shared.change(|state| {
            let refusals = refusals(state, &conditions);
            if !refusals.is_empty() {
                return Ok(Committed::Refused(refusals));
            }
            let unit = Unit::of(&scope).with(buffered).leaving(acked(&conditions));
            unit.perform(state, posting, |db| writes.iter().try_for_each(|write| write(db)))?;
            for condition in conditions {
                self.fulfil(state, condition, now);
            }
            Ok(Committed::Done)
        })
    }

    fn writer(&self, scope: Scope) -> MemoryWriter {
        MemoryWriter::new(self, scope)
    }

    async fn admitted(&self, sightings: &[Sighting]) -> Result<Vec<Option<Refusal>>> {
        Ok(self.shared.change(|state| {
            sightings.iter().map(|sighting| state.inbox.refusal(sighting)).collect()
        }))
    }

    async fn prune_inbox(&self, endpoint: &str, before: Timestamp, limit: u32) -> Result<u64> {
        Ok(self.shared.change(|state| state.inbox.prune(endpoint, before, limit)))
    }

    fn outbox(&self) -> &dyn Outbox {
        self
    }

    fn schedules(&self) -> Option<&dyn Schedules> {
        Some(self)
    }
}

impl Memory {
    /// A ticket of another database cannot be decided here; whoever brings one is wired wrongly.
    fn check_tickets(&self, conditions: &[Condition]) -> Result<()> {
        for condition in conditions {
            if let Condition::Ack(ticket) = condition
                && ticket.database != self.shared.database
            {
                let doing = format!("ack in {}", self.shared.database);
                let why = format!("the delivery is from {}", ticket.database);
                return Err(Error::new(ErrorKind::Misconfigured, doing).because(why));
            }
        }
        Ok(())
    }

    /// Makes a condition that holds into what it asks for.
    fn fulfil(&self, state: &mut State, condition: Condition, now: Timestamp) {
        match condition {
            Condition::Ack(ticket) => {
                let clock = &*self.shared.options.clock;
                state.settle(&claim(&ticket), Settlement::Ack, clock);
            }
            Condition::Admit(sighting) => state.inbox.admit(sighting, now),
            Condition::Due { key, now } => state.schedules.fire(&key, now),
            Condition::Tick { row, next } => state.schedules.advance(&row, next),
            Condition::Plan(plan) => {
                state.schedules.plan(plan);
                state.rings.scheduled = true;
            }
        }
    }
}

/// Every condition that does not hold, by its index. Nothing is changed.
///
/// Conditions of one commit also count against each other: of two that admit the same message,
/// the second one does not hold.
fn refusals<'a>(state: &mut State, conditions: &'a [Condition]) -> Vec<(usize, Refusal)> {
    let mut acked: HashSet<i64> = HashSet::new();
    let mut admitted: HashMap<&'a InboxKey, &'a Sighting> = HashMap::new();
    let mut fired: HashSet<&'a str> = HashSet::new();
    let mut decide = |condition: &'a Condition| match condition {
        Condition::Ack(ticket) => {
            let is_ours = state.is_leased(&claim(ticket)) && acked.insert(ticket.row);
            (!is_ours).then_some(Refusal::LeaseLost)
        }
        Condition::Admit(sighting) => match admitted.entry(&sighting.key) {
            Entry::Occupied(first) => {
                let first = first.get();
                Some(refusal(sighting, &first.id.to_string(), first.body_hash))
            }
            Entry::Vacant(entry) => {
                entry.insert(sighting);
                state.inbox.refusal(sighting)
            }
        },
        Condition::Due { key, .. } => {
            let waits = state.schedules.waits(key) && fired.insert(&key.name);
            (!waits).then_some(Refusal::Changed)
        }
        Condition::Tick { row, .. } => (!state.schedules.recurs(row)).then_some(Refusal::Changed),
        Condition::Plan(_) => None,
    };
    let decided = conditions.iter().map(&mut decide).enumerate();
    decided.filter_map(|(index, refusal)| Some((index, refusal?))).collect()
}

/// What is acked: queues and rows.
fn acked(conditions: &[Condition]) -> Vec<(QueueNumber, i64)> {
    let acked = conditions.iter().filter_map(|condition| match condition {
        Condition::Ack(ticket) => Some(claim(ticket)),
        _ => None,
    });
    acked.map(|claim| (claim.queue, claim.row)).collect()
}

fn claim(ticket: &Ticket) -> Claim {
    let queue = QueueNumber(usize::try_from(ticket.queue).unwrap_or(usize::MAX));
    Claim { queue, row: ticket.row, token: ticket.token }
}
