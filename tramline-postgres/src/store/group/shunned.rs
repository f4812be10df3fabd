//! Statements that others had to wait for: for a while they are not run with others.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Until when statements are shunned, by their text.
#[derive(Default)]
pub(super) struct Shunned(HashMap<Cow<'static, str>, Instant>);

/// So long.
const FOR: Duration = Duration::from_secs(1);
/// So many at most.
const KEPT_MAX: usize = 1000;

impl Shunned {
    pub(super) fn add(&mut self, sql: Cow<'static, str>, now: Instant) {
        if self.0.len() >= KEPT_MAX {
            self.0.retain(|_, until| *until > now);
        }
        if self.0.len() < KEPT_MAX {
            self.0.insert(sql, now + FOR);
        }
    }

    pub(super) fn has(&self, sql: &str, now: Instant) -> bool {
        self.0.get(sql).is_some_and(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_shunned_for_a_while_and_others_are_not() {
        let (mut shunned, now) = (Shunned::default(), Instant::now());
        shunned.add("SELECT 1".into(), now);
        assert!(shunned.has("SELECT 1", now));
        assert!(!shunned.has("SELECT 2", now));
        assert!(!shunned.has("SELECT 1", now + FOR));
    }

    #[test]
    fn there_are_never_too_many_and_room_comes_with_time() {
        let (mut shunned, now) = (Shunned::default(), Instant::now());
        for n in 0..=KEPT_MAX {
            shunned.add(n.to_string().into(), now);
        }
        assert_eq!(shunned.0.len(), KEPT_MAX);
        shunned.add("later".into(), now + FOR);
        assert_eq!(shunned.0.len(), 1);
    }
}
