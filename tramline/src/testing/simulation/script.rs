//! Everything that goes wrong in one run, as a list that can be shortened.

use crate::testing::faults::{Dice, Fault, LifeId, Site};
use std::collections::BTreeMap;
use std::fmt;

/// What goes wrong, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) stops: BTreeMap<LifeId, Stop>,
    pub(crate) faults: BTreeMap<Site, Fault>,
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    /// After so many polls of its tasks.
    pub(crate) polls: u64,
    pub(crate) how: HowItStops,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HowItStops {
    /// Dropped where it is.
    Dies,
    /// Told to stop, with time to finish.
    Drains,
}

impl Stop {
    /// The lives that the processes of a run have before their last, and how they end.
    pub(crate) fn drawn(seed: u64, processes: u32) -> BTreeMap<LifeId, Self> {
        let mut stops = BTreeMap::new();
        for process in 1..=processes {
            let dice = Dice::of(seed, &[0x7374_6f70, u64::from(process)]);
            for life in 1..=dice.one_of(&[0, 1, 1, 2, 2, 3, 4]) {
                // Most deaths soon after a start, where there is most to do, and some far out.
                let polls = 1 + dice.below(dice.one_of(&[8, 20, 40, 100, 300, 1000]));
                let drains = dice.below(6) == 0;
                let how = if drains { HowItStops::Drains } else { HowItStops::Dies };
                stops.insert(LifeId { process, life }, Self { polls, how });
            }
        }
        stops
    }
}

impl Script {
    pub(crate) fn len(&self) -> usize {
        self.stops.len() + self.faults.len()
    }

    /// This script without its parts `from..to`, in their order.
    pub(crate) fn without(&self, from: usize, to: usize) -> Self {
        let kept = |index: usize| index < from || index >= to;
        let stops = self.stops.iter().enumerate().filter(|(index, _)| kept(*index));
        let faults = self.faults.iter().enumerate();
        let faults = faults.filter(|(index, _)| kept(index + self.stops.len()));
        Self {
            stops: stops.map(|(_, (life, stop))| (*life, *stop)).collect(),
            faults: faults.map(|(_, (site, fault))| (*site, *fault)).collect(),
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (life, Stop { polls, how }) in &self.stops {
            let how = match how {
                HowItStops::Dies => "dies",
                HowItStops::Drains => "is told to stop",
            };
            writeln!(f, "  {life}: {how} after {polls} polls")?;
        }
        self.faults.iter().try_for_each(|(site, fault)| writeln!(f, "  {site} {fault}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::faults::Call;

    #[test]
    fn parts_are_left_out_by_their_place_stops_first() {
        let life = |life| LifeId { process: 1, life };
        let site = |nth| Site { life: life(1), call: Call::Settle, nth };
        let stop = Stop { polls: 1, how: HowItStops::Dies };
        let script = Script {
            stops: [(life(1), stop), (life(2), stop)].into(),
            faults: [(site(1), Fault::Fail), (site(2), Fault::Lose)].into(),
        };
        assert_eq!(script.len(), 4);
        let without = script.without(1, 3);
        assert_eq!(without.stops.keys().copied().collect::<Vec<_>>(), [life(1)]);
        assert_eq!(without.faults.keys().copied().collect::<Vec<_>>(), [site(2)]);
    }
}
