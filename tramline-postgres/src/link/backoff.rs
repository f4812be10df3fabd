//! How long to wait before a server is tried again.

use std::time::Duration;

/// Pauses that grow from one failure to the next.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The first pause.
    const FIRST: Duration = Duration::from_millis(50);
    /// The longest one.
    const LONGEST: Duration = Duration::from_secs(5);

    /// The pause after one more failure. `fraction`, from 0 to 1, spreads those who failed together.
    pub(crate) fn failed(&mut self, fraction: f64) -> Duration {
        let doubled = Self::FIRST.saturating_mul(1 << self.failures.min(16));
        self.failures += 1;
        doubled.min(Self::LONGEST).mul_f64(0.5 + fraction / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..10).map(|_| backoff.failed(1.0).as_millis()).collect();
        assert_eq!(pauses[..4], [50, 100, 200, 400]);
        assert_eq!(pauses[9], 5000);
        assert_eq!(Backoff::default().failed(0.0).as_millis(), 25);
    }
}
