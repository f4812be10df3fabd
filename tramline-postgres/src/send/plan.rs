//! The calls by which messages become rows, in the order of the messages.

use super::columns::Columns;
use super::placed::Placed;
use crate::queue::{Legs, Parcel};

/// One call.
pub(crate) enum Step<'p> {
    /// Rows for queues that take everything. Without any, it only looks whether the routes are old.
    Put(Columns<'p>),
    /// One message, by its index, that a queue may refuse, or of which more is recorded.
    Place(usize, &'p Parcel, &'p Legs),
}

/// What is to be done with a batch.
#[derive(Default)]
pub(crate) struct Plan<'p> {
    pub(crate) steps: Vec<Step<'p>>,
    /// What becomes of each message if every step succeeds; nothing for those that a step decides on.
    pub(crate) placed: Vec<Option<Placed>>,
}

impl<'p> Plan<'p> {
    /// Has at least one step if there is any message, so that an answer never rests on old routes alone.
    pub(crate) fn of(
        parcels: impl IntoIterator<Item = &'p Parcel>,
        routed: &'p [Option<Legs>],
    ) -> Self {
        let mut plan = Self::default();
        for (parcel, legs) in parcels.into_iter().zip(routed) {
            let placed = plan.add(parcel, legs.as_ref());
            plan.placed.push(placed);
        }
        if plan.steps.is_empty() && !plan.placed.is_empty() {
            plan.steps.push(Step::Put(Columns::default()));
        }
        plan
    }

    fn add(&mut self, parcel: &'p Parcel, legs: Option<&'p Legs>) -> Option<Placed> {
        let Some(legs) = legs else {
            return Some(Placed::NoSuchQueue);
        };
        let unknown = legs.iter().find(|queue| !queue.is_known);
        if let Some(queue) = unknown.filter(|_| parcel.is_judged()) {
            return Some(Placed::Unknown(queue.clone()));
        }
        if parcel.is_dead() || parcel.is_copy() || legs.iter().any(|queue| queue.judges()) {
            self.steps.push(Step::Place(self.placed.len(), parcel, legs));
            return None;
        }
        if !matches!(self.steps.last(), Some(Step::Put(_))) {
            self.steps.push(Step::Put(Columns::default()));
        }
        if let Some(Step::Put(columns)) = self.steps.last_mut() {
            legs.iter().for_each(|queue| columns.add(parcel, queue));
        }
        Some(Placed::In(legs.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Queue;
    use std::sync::Arc;
    use tramline_core::envelope::Envelope;
    use tramline_core::name::{QueueName, QueueRef};
    use tramline_core::topology::QueueSpec;
    use tramline_core::transport::{Destination, Outgoing};

    fn queue(id: i32, length_max: Option<u64>) -> Arc<Queue> {
        let name = QueueName::new(format!("q{id}")).unwrap();
        let spec = QueueSpec { length_max, ..QueueSpec::new(name) };
        Arc::new(Queue { id, spec, is_known: true })
    }

    fn parcel() -> Parcel {
        let to = Destination::Queue(QueueRef::Main(QueueName::new("q").unwrap()));
        let envelope = Arc::new(Envelope::default());
        Parcel::pack(&Outgoing { to, envelope, due: None, copy: None }).unwrap()
    }

    fn shown(plan: &Plan<'_>) -> Vec<String> {
        let show = |step: &Step<'_>| match step {
            Step::Put(columns) => format!("put {:?}", columns.queues),
            Step::Place(index, ..) => format!("place {index}"),
        };
        plan.steps.iter().map(show).collect()
    }

    /// What one message has before another in a queue, it keeps, whatever other queues they go to.
    #[test]
    fn messages_become_rows_in_their_order() {
        let (plain, judging) = (queue(1, None), queue(2, Some(10)));
        let parcels = [parcel(), parcel(), parcel(), parcel()];
        let one = Some(vec![plain.clone()]);
        let both = Some(vec![plain.clone(), judging]);
        let routed = [one.clone(), Some(vec![plain.clone(), plain]), both, one];
        let plan = Plan::of(&parcels, &routed);
        assert_eq!(shown(&plan), ["put [1, 1, 1]", "place 2", "put [1]"]);
        assert!(plan.placed[2].is_none());
    }

    #[test]
    fn routes_are_looked_at_even_if_there_is_nothing_to_write() {
        let parcels = [parcel(), parcel()];
        let routed = [None, Some(Vec::new())];
        let plan = Plan::of(&parcels, &routed);
        assert_eq!(shown(&plan), ["put []"]);
        assert_eq!(shown(&Plan::of(&[], &[])), [""; 0]);
    }
}
