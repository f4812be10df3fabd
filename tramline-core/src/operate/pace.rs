//! How fast dead letters go back, for drivers.

use crate::name::QueueName;
use crate::{Error, ErrorKind, Result};
use std::time::Duration;

/// So many at once, and then a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// At most so many in one step, at least 1.
    pub at_once: usize,
    /// From the beginning of one step to that of the next.
    pub pause: Duration,
}

impl Pace {
    /// At most `rate` a second: ten steps a second, of a single message each if it is lower, and more
    /// steps if they would be larger than `at_once_max`. Without a rate there are no pauses.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] for a rate of 0.
    pub fn new(queue: &QueueName, rate: Option<u32>, at_once_max: u32) -> Result<Self> {
        let at_once_max = at_once_max.max(1);
        let Some(rate) = rate else {
            return Ok(Self { at_once: at_once_max as usize, pause: Duration::ZERO });
        };
        if rate == 0 {
            let doing = format!("redrive dead letters of queue {queue}");
            let why = "at most 0 a second is none ever; leave the rate out for no bound";
            return Err(Error::new(ErrorKind::Misconfigured, doing).because(why));
        }
        let at_once = (rate / 10).clamp(1, at_once_max);
        let pause = Duration::from_secs_f64(f64::from(at_once) / f64::from(rate));
        Ok(Self { at_once: at_once as usize, pause })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_sees_more_than_its_rate() {
        let queue = QueueName::new("work").unwrap();
        for rate in [1, 2, 3, 9, 10, 11, 19, 99, 1_000, 50_000, u32::MAX] {
            let pace = Pace::new(&queue, Some(rate), 1_000).unwrap();
            let steps = 1.0 / pace.pause.as_secs_f64();
            assert!(steps * pace.at_once as f64 <= f64::from(rate) * 1.000_001, "{rate}: {pace:?}");
            assert!((1..=1_000).contains(&pace.at_once), "{rate}: {pace:?}");
        }
        let unbounded = Pace::new(&queue, None, 1_000).unwrap();
        assert_eq!((unbounded.at_once, unbounded.pause), (1_000, Duration::ZERO));
        assert!(Pace::new(&queue, Some(0), 1_000).is_err());
    }
}
