//! What must hold of what recurs: each moment once, none left out but where it was paused, and none while it was.

use super::evidence::Recurred;
use super::service::TICK;

/// What does not hold of what recurs under `name`.
pub(super) fn faults(name: &str, recurred: &Recurred) -> Vec<String> {
    let tick = TICK.as_millis() as u64;
    let Recurred { moments, next, silent, .. } = recurred;
    let mut faults = Vec::new();
    let twice = moments.iter().filter(|(_, times)| **times > 1);
    faults.extend(twice.map(|(moment, times)| format!("{name}: {moment} was {times} times")));
    let mut ends: Vec<u64> = moments.keys().copied().collect();
    // The last one that was sent is the one before the next.
    ends.push(*next);
    for pair in ends.windows(2) {
        let [earlier, later] = [pair[0], pair[1]];
        let is_next = earlier + tick == later;
        let is_on_the_way = later > earlier && (later - earlier) % tick == 0;
        let is_sound = is_next || is_on_the_way && recurred.may_be_silent(earlier, later);
        if !is_sound {
            faults.push(format!("{name}: nothing between {earlier} and {later}"));
        }
    }
    for silence in silent {
        let broken = moments.range(silence.from + 1..silence.until);
        faults
            .extend(broken.map(|(moment, _)| format!("{name}: {moment} was while it was paused")));
    }
    faults
}

impl Recurred {
    /// Whether it was paused anywhere in between, or may have been.
    fn may_be_silent(&self, from: u64, until: u64) -> bool {
        self.pausing.range(..=until).any(|paused| {
            let resumed = self.resumed.range(paused..).next();
            resumed.is_none_or(|resumed| *resumed >= from)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::notes::Silence;
    use super::*;

    fn recurred(moments: &[u64], next: u64) -> Recurred {
        let moments = moments.iter().map(|moment| (*moment, 1)).collect();
        Recurred { moments, next, ..Recurred::default() }
    }

    #[test]
    fn each_moment_was_once_and_the_last_is_the_one_before_the_next() {
        assert!(faults("a", &recurred(&[100, 120, 140], 160)).is_empty());
        let gap = faults("a", &recurred(&[100, 140], 160));
        assert_eq!(gap, ["a: nothing between 100 and 140"]);
        let lost = faults("a", &recurred(&[100, 120], 160));
        assert_eq!(lost, ["a: nothing between 120 and 160"]);
        let beside = faults("a", &recurred(&[100, 110], 130));
        assert_eq!(beside, ["a: nothing between 100 and 110"]);
        let mut twice = recurred(&[100, 120], 140);
        twice.moments.insert(120, 2);
        assert_eq!(faults("a", &twice), ["a: 120 was 2 times"]);
    }

    #[test]
    fn moments_are_left_out_only_while_it_was_paused() {
        let paused = Recurred {
            pausing: [110].into(),
            resumed: [90, 150].into(),
            ..recurred(&[100, 160], 180)
        };
        assert!(faults("a", &paused).is_empty());
        let later = Recurred { resumed: [90, 95].into(), pausing: [92].into(), ..paused.clone() };
        assert_eq!(faults("a", &later), ["a: nothing between 100 and 160"]);
        let for_ever = Recurred { resumed: [].into(), ..paused };
        assert!(faults("a", &for_ever).is_empty());
    }

    #[test]
    fn nothing_is_sent_for_a_moment_in_a_silence() {
        let silent = vec![Silence { from: 100, until: 140 }];
        let broken = Recurred { silent, ..recurred(&[100, 120, 140], 160) };
        assert_eq!(faults("a", &broken), ["a: 120 was while it was paused"]);
    }
}
