//! How many of a key are at work.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// The keys at work in this endpoint and process.
#[derive(Debug)]
pub(crate) struct Turns {
    /// How many of one key may be at work at once.
    most: usize,
    state: Mutex<State>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct State {
    at_work: HashMap<Arc<str>, AtWork>,
    /// Keys of which one has ended while somebody waited.
    freed: Vec<Arc<str>>,
}

#[derive(Debug, Default)]
struct AtWork {
    count: usize,
    is_awaited: bool,
}

/// One of a key is at work; dropped, it is the turn of another.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Arc<Turns>,
    key: Arc<str>,
}

impl Turns {
    pub(crate) fn of(most: usize) -> Self {
        Self { most, state: Mutex::default(), bell: Notify::new() }
    }

    /// A turn of `key`; `None` if there is none left, and [`freed`](Self::freed) tells of the next.
    pub(crate) fn take(self: &Arc<Self>, key: &Arc<str>) -> Option<Turn> {
        let mut state = self.state.lock();
        let at_work = state.at_work.entry(key.clone()).or_default();
        if at_work.count >= self.most {
            at_work.is_awaited = true;
            return None;
        }
        at_work.count += 1;
        Some(Turn { turns: self.clone(), key: key.clone() })
    }

    /// The keys that have a turn again for whoever waits.
    pub(crate) fn freed(&self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.state.lock().freed)
    }

    /// Ends when a key has been freed since it ended last. Cancel-safe; for one task.
    pub(crate) async fn changed(&self) {
        self.bell.notified().await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.turns.state.lock();
        let Some(at_work) = state.at_work.get_mut(&self.key) else { return };
        at_work.count -= 1;
        let was_awaited = std::mem::take(&mut at_work.is_awaited);
        if at_work.count == 0 {
            state.at_work.remove(&self.key);
        }
        if was_awaited {
            state.freed.push(self.key.clone());
            self.turns.bell.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn no_more_than_there_are_turns_and_only_who_is_waited_for_is_told_of() {
        let (turns, a, b): (_, Arc<str>, _) = (Arc::new(Turns::of(2)), "a".into(), "b".into());
        let first = turns.take(&a);
        let second = turns.take(&a);
        let other = turns.take(&b);
        assert!(first.is_some() && second.is_some() && other.is_some());
        assert!(turns.take(&a).is_none());
        drop(other);
        assert!(turns.freed().is_empty() && turns.changed().now_or_never().is_none());
        drop(first);
        assert!(turns.changed().now_or_never().is_some());
        assert!(matches!(&*turns.freed(), [freed] if *freed == a));
        drop((turns.take(&a), second));
        assert!(turns.state.lock().at_work.is_empty(), "nothing is kept of keys that are done");
    }
}
