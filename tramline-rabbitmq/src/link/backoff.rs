//! How long to wait before the next attempt to connect.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(15);

/// The pause before attempt `attempt`, from 0; `fraction` in `0.0..1.0` is the chance in it.
///
/// It doubles up to 15 s, and half of it is left to chance: services that lost the same broker must
/// not all come back in the same moment.
pub(crate) fn pause(attempt: u32, fraction: f64) -> Duration {
    let whole = FIRST.saturating_mul(1 << attempt.min(16)).min(LONGEST);
    whole.mul_f64(0.5 + fraction / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_half_of_each_is_chance() {
        let millis = |attempt, fraction| pause(attempt, fraction).as_millis();
        assert_eq!([0, 1, 2, 6].map(|attempt| millis(attempt, 1.0)), [200, 400, 800, 12_800]);
        assert_eq!([7, 100, u32::MAX].map(|attempt| millis(attempt, 1.0)), [15_000; 3]);
        assert_eq!(millis(0, 0.0), 100);
    }
}
