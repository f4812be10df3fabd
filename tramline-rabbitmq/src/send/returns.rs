//! Which of the published messages the broker returned, because no queue was there for them.
//!
//! The client hands a returned message out with a confirm, but not with its own: with the first that
//! comes behind it, of whichever message. Whose it is shows only from the message itself; and that
//! nothing of a confirmed message was returned is known only when nothing returned can be under way
//! to it any more.
//!
//! What helps is the broker's order: it returns a message before it confirms it, and the client hands
//! out what was returned first in, first out, one with each confirm. So at the moment of a confirm
//! that carries nothing, every message that was returned before had been handed out.

use super::numbered::Numbered;

/// Tells apart what is in flight: from exchange, routing key, id and body.
pub(crate) type Fingerprint = u64;

/// The messages of one channel that are in flight, each with who waits for it.
#[derive(Debug)]
pub(crate) struct Returns<W> {
    /// Where to look for the next return: messages are returned in the order in which they were sent.
    returned_before: u64,
    in_flight: Numbered<Flight<W>>,
    /// How many were seen returned whose own confirm is still to come.
    unconfirmed: usize,
    /// Confirmed since the last call of `settle`.
    fresh: Vec<u64>,
    /// Whether one of these confirms carried nothing.
    fresh_empty: bool,
    /// Confirmed with what was not their own: theirs may still come.
    held: Vec<u64>,
}

#[derive(Debug)]
struct Flight<W> {
    waiter: W,
    fingerprint: Fingerprint,
    /// What the broker said when it returned it.
    returned: Option<String>,
    confirmed: Option<Confirmed>,
}

#[derive(Debug)]
struct Confirmed {
    is_stored: bool,
    carried: bool,
}

/// What the broker said about a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// At least one queue has it.
    Stored,
    /// There was no queue for it; with the broker's words.
    Returned(String),
    /// A queue did not take it.
    Refused,
}

impl<W> Returns<W> {
    /// Nothing is in flight.
    pub(crate) fn new() -> Self {
        Self::from(0)
    }

    fn from(first: u64) -> Self {
        Self {
            returned_before: first,
            in_flight: Numbered::from(first),
            unconfirmed: 0,
            fresh: Vec::new(),
            fresh_empty: false,
            held: Vec::new(),
        }
    }

    /// A message was taken, and is handed to the client. Its number.
    pub(crate) fn publish(&mut self, fingerprint: Fingerprint, waiter: W) -> u64 {
        let flight = Flight { waiter, fingerprint, returned: None, confirmed: None };
        self.in_flight.push(flight)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Who waits for message `number`, unless that is known.
    pub(crate) fn waiter(&mut self, number: u64) -> Option<&mut W> {
        self.in_flight.get_mut(number).map(|flight| &mut flight.waiter)
    }

    /// The confirm of message `number` came; it may carry a message that was returned. Answers whether
    /// that is one of those in flight.
    pub(crate) fn confirm(
        &mut self,
        number: u64,
        is_stored: bool,
        carried: Option<(Fingerprint, String)>,
    ) -> bool {
        let confirmed = Confirmed { is_stored, carried: carried.is_some() };
        let is_known = carried.is_none_or(|(fingerprint, why)| self.mark(fingerprint, why));
        if let Some(flight) = self.in_flight.get_mut(number) {
            self.fresh_empty |= !confirmed.carried;
            self.unconfirmed -= usize::from(flight.returned.is_some());
            flight.confirmed = Some(confirmed);
            self.fresh.push(number);
        }
        is_known
    }

    /// Who waits for messages in flight.
    pub(crate) fn waiters(&mut self) -> impl Iterator<Item = &mut W> {
        self.in_flight.values_mut().map(|flight| &mut flight.waiter)
    }

    /// Message `number` will not be confirmed. Who waits for it.
    pub(crate) fn lose(&mut self, number: u64) -> Option<W> {
        let flight = self.in_flight.remove(number)?;
        self.unconfirmed -= usize::from(flight.returned.is_some());
        Some(flight.waiter)
    }

    /// The channel is gone, and with it what would have told about the rest. Who waits for them.
    pub(crate) fn take_rest(&mut self) -> impl Iterator<Item = W> + use<W> {
        let rest = std::mem::replace(self, Self::new());
        rest.in_flight.into_values().map(|flight| flight.waiter)
    }

    /// Adds the messages about which everything is known to `settled`. To be called when every confirm that the client
    /// has handed out up to some moment was told, and none besides.
    pub(crate) fn settle(&mut self, settled: &mut Vec<(W, Verdict)>) {
        // Every return that was handed out has met its own confirm, so none is behind its own: with
        // each confirm since, another return would have been handed out.
        let nothing_under_way = self.unconfirmed == 0;
        // Theirs were confirmed before one that carried nothing.
        let overtaken = self.fresh_empty;
        self.fresh_empty = false;
        let mut still_held = Vec::new();
        let held = self.held.drain(..).map(|number| (number, overtaken));
        let fresh = self.fresh.drain(..).map(|number| (number, false));
        for (number, overtaken) in held.chain(fresh) {
            let Some(flight) = self.in_flight.get(number) else { continue };
            let carried = flight.confirmed.as_ref().is_some_and(|confirmed| confirmed.carried);
            let is_sure = flight.returned.is_some() || !carried || overtaken || nothing_under_way;
            if !is_sure {
                still_held.push(number);
            } else if let Some(flight) = self.in_flight.remove(number) {
                settled.push(flight.verdict());
            }
        }
        self.held = still_held;
    }

    /// Whose return it is: of those that are alike, the first that was sent after the last return.
    fn mark(&mut self, fingerprint: Fingerprint, why: String) -> bool {
        let is_its = |(_, flight): &(u64, &Flight<W>)| {
            flight.fingerprint == fingerprint && flight.returned.is_none()
        };
        let found = self.in_flight.starting_at(self.returned_before).find(is_its);
        let found = found.or_else(|| self.in_flight.starting_at(0).find(is_its));
        let Some(number) = found.map(|(number, _)| number) else { return false };
        if let Some(flight) = self.in_flight.get_mut(number) {
            flight.returned = Some(why);
            self.unconfirmed += usize::from(flight.confirmed.is_none());
        }
        self.returned_before = number + 1;
        true
    }
}

impl<W> Flight<W> {
    fn verdict(self) -> (W, Verdict) {
        let verdict = match (self.returned, self.confirmed) {
            (Some(why), _) => Verdict::Returned(why),
            (None, Some(Confirmed { is_stored: true, .. })) => Verdict::Stored,
            (None, _) => Verdict::Refused,
        };
        (self.waiter, verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{HashMap, VecDeque};

    /// The client: what was returned waits for any confirm.
    #[derive(Default)]
    struct Client {
        returned: VecDeque<u64>,
    }

    impl Client {
        fn confirm(&mut self, number: u64, returns: &mut Returns<u64>) {
            let carried = self.returned.pop_front().map(|other| (other, "NO_ROUTE".to_owned()));
            assert!(returns.confirm(number, true, carried), "an unknown message was returned");
        }
    }

    fn settled<W>(returns: &mut Returns<W>) -> Vec<(W, Verdict)> {
        let mut settled = Vec::new();
        returns.settle(&mut settled);
        settled
    }

    fn in_flight(count: u64) -> (Returns<u64>, Client) {
        let mut returns = Returns::new();
        (0..count).for_each(|number| assert_eq!(returns.publish(number, number), number));
        (returns, Client::default())
    }

    fn no_route() -> Verdict {
        Verdict::Returned("NO_ROUTE".to_owned())
    }

    #[test]
    fn a_return_is_of_its_message_and_not_of_the_one_whose_confirm_carries_it() {
        let (mut returns, mut client) = in_flight(3);
        client.returned.push_back(2);
        client.confirm(0, &mut returns);
        // Its own return might wait behind the other one.
        assert_eq!(settled(&mut returns), []);
        client.confirm(1, &mut returns);
        assert_eq!(settled(&mut returns), [(0, Verdict::Stored), (1, Verdict::Stored)]);
        client.confirm(2, &mut returns);
        assert_eq!(settled(&mut returns), [(2, no_route())]);
    }

    #[test]
    fn two_returns_may_be_carried_crosswise() {
        let (mut returns, mut client) = in_flight(2);
        client.returned.extend([0, 1]);
        client.confirm(1, &mut returns);
        assert_eq!(settled(&mut returns), []);
        client.confirm(0, &mut returns);
        assert_eq!(settled(&mut returns), [(1, no_route()), (0, no_route())]);
    }

    #[test]
    fn of_two_that_are_alike_the_one_is_returned_that_was_sent_after_the_last_return() {
        let mut returns = Returns::new();
        for (waiter, fingerprint) in [("alike", 7), ("other", 8), ("alike too", 7)] {
            returns.publish(fingerprint, waiter);
        }
        assert!(returns.confirm(0, true, Some((8, "NO_ROUTE".to_owned()))));
        assert!(returns.confirm(1, true, Some((7, "NO_ROUTE".to_owned()))));
        returns.confirm(2, true, None);
        let expected =
            [("alike", Verdict::Stored), ("other", no_route()), ("alike too", no_route())];
        assert_eq!(settled(&mut returns), expected);
    }

    #[test]
    fn what_was_not_stored_is_told_and_what_is_lost_is_forgotten() {
        let (mut returns, _) = in_flight(2);
        returns.confirm(0, false, None);
        assert_eq!(returns.lose(1), Some(1));
        assert_eq!(settled(&mut returns), [(0, Verdict::Refused)]);
        assert!(returns.in_flight.is_empty());
    }

    #[test]
    fn a_return_of_what_was_never_sent_is_noticed() {
        let (mut returns, _) = in_flight(1);
        assert!(!returns.confirm(0, true, Some((99, "NO_ROUTE".to_owned()))));
    }

    /// What the broker does next; and when what was handed out is looked at.
    #[derive(Clone, Debug)]
    enum Event {
        /// It routes the next message: the queue has it, or it is returned.
        Route { is_stored: bool },
        /// It confirms some of those that are routed, in any order.
        Confirm(Vec<prop::sample::Index>),
        /// It is looked at what is settled.
        Look,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            3 => any::<bool>().prop_map(|is_stored| Event::Route { is_stored }),
            2 => prop::collection::vec(any::<prop::sample::Index>(), 1..5).prop_map(Event::Confirm),
            2 => Just(Event::Look),
        ]
    }

    /// It would not end if it were sought among all numbers since the last one.
    #[test]
    fn a_return_is_found_after_any_number_of_messages_without_one() {
        let mut returns = Returns::from(1 << 60);
        returns.returned_before = 0;
        for waiter in [1, 2] {
            returns.publish(waiter, waiter);
        }
        assert!(returns.confirm(1 << 60, true, Some((2, "NO_ROUTE".to_owned()))));
        returns.confirm((1 << 60) + 1, true, None);
        let told = [(1, Verdict::Stored), (2, Verdict::Returned("NO_ROUTE".to_owned()))];
        assert_eq!(settled(&mut returns), told);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_message_is_told_another_ones_fate_and_each_is_told_in_the_end(
            events in prop::collection::vec(event(), 0..60),
        ) {
            const COUNT: u64 = 24;
            let (mut returns, mut client) = in_flight(COUNT);
            let mut unrouted = 0..COUNT;
            let (mut routed, mut fates, mut told) = (Vec::new(), HashMap::new(), HashMap::new());
            let rest = (0..COUNT).map(|_| Event::Route { is_stored: true });
            for event in events.into_iter().chain(rest) {
                match event {
                    Event::Route { is_stored } => if let Some(number) = unrouted.next() {
                        if !is_stored {
                            client.returned.push_back(number);
                        }
                        fates.insert(number, if is_stored { Verdict::Stored } else { no_route() });
                        routed.push(number);
                    },
                    Event::Confirm(which) => for index in which {
                        if !routed.is_empty() {
                            let number = routed.remove(index.index(routed.len()));
                            client.confirm(number, &mut returns);
                        }
                    },
                    Event::Look => told.extend(settled(&mut returns)),
                }
            }
            routed.into_iter().for_each(|number| client.confirm(number, &mut returns));
            told.extend(settled(&mut returns));
            prop_assert_eq!(told, fates);
        }
    }
}
