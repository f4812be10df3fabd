//! Chance that depends on a seed and on nothing else.

use super::call::{Call, Fault, Kind, Site};
use std::time::Duration;
use tramline_core::clock::{Entropy, SeededEntropy};

/// Numbers drawn from a seed.
pub(crate) struct Dice(SeededEntropy);

impl Dice {
    /// Dice for what `seed` and `parts` name together: others do not move them.
    pub(crate) fn of(seed: u64, parts: &[u64]) -> Self {
        let mixed = parts.iter().fold(seed, |mixed, part| {
            SeededEntropy::new(mixed.rotate_left(17) ^ part).bits() as u64
        });
        Self(SeededEntropy::new(mixed))
    }

    /// A number below `end`.
    pub(crate) fn below(&self, end: u64) -> u64 {
        (self.0.bits() % u128::from(end.max(1))) as u64
    }

    /// One of `choices`, of which there is at least one.
    pub(crate) fn one_of<T: Copy>(&self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// How often each kind of fault happens in one run, of 256 calls. Most runs have a few kinds only:
/// a storm of everything hides what two faults can do together.
#[derive(Clone, Debug)]
pub(crate) struct Rates([u64; Kind::ALL.len()]);

impl Rates {
    pub(crate) fn of(seed: u64) -> Self {
        let dice = Dice::of(seed, &[0x7261_7465]);
        Self(Kind::ALL.map(|_| dice.one_of(&[0, 0, 0, 2, 8, 24])))
    }

    /// What goes wrong at `site`. Each site has a chance of its own, so that a fault that is left
    /// out changes nothing for the others.
    pub(crate) fn fault(&self, seed: u64, site: Site) -> Option<Fault> {
        let life = u64::from(site.life.process) << 32 | u64::from(site.life.life);
        let name =
            site.call.name().bytes().fold(0u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
        let dice = Dice::of(seed, &[life, name, u64::from(site.nth)]);
        let kinds = site.call.kinds();
        let kind = kinds.iter().find(|kind| dice.below(256) < self.rate(site.call, **kind))?;
        Some(match kind {
            Kind::Fail => Fault::Fail,
            Kind::Half => Fault::Half,
            Kind::Lose => Fault::Lose,
            Kind::Delay => Fault::Delay(dice.one_of(&DELAYS)),
            Kind::Twice => Fault::Twice,
            Kind::Reorder => Fault::Reorder,
            Kind::LoseLease => Fault::LoseLease,
            Kind::Astray => Fault::Astray,
        })
    }

    fn rate(&self, call: Call, kind: Kind) -> u64 {
        let rate = self.0[kind as usize];
        match call {
            // A start asks many times, and one failure ends it.
            Call::Declare | Call::Sender | Call::Receiver => rate / 4,
            _ => rate,
        }
    }
}

/// From less than any pause to more than any lease.
const DELAYS: [Duration; 4] = [
    Duration::from_millis(1),
    Duration::from_millis(300),
    Duration::from_secs(5),
    Duration::from_secs(70),
];
