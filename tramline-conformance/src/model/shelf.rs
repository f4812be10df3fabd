//! The model of a queue: a list of messages that is searched from end to end for every question.

use std::collections::BTreeMap;
use std::time::Duration;
use tramline_core::capabilities::Ordering;
use tramline_core::clock::Timestamp;
use tramline_core::topology::QueueSpec;

/// One queue with its dead letters.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    spec: QueueSpec,
    rows: BTreeMap<u64, Row>,
    seen: BTreeMap<String, Timestamp>,
    pub(super) dead: BTreeMap<u64, Letter>,
    completed: Vec<String>,
    lined_ever: u64,
}

/// What a message says about itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Letter {
    pub(super) id: String,
    pub(super) key: Option<String>,
    pub(super) priority: Option<u8>,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) once: Option<String>,
    pub(super) due: Option<Timestamp>,
    pub(super) is_copy: bool,
    pub(super) failures: u32,
}

#[derive(Clone, Debug)]
struct Row {
    letter: Letter,
    deliveries: u32,
    wait: Wait,
    /// Since when it waits to be taken.
    since: Timestamp,
    /// When it lined up behind the others of its lane. The first of a lane is out of it.
    lined: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Wait {
    Free,
    Until(Timestamp),
    Taken,
}

/// What was taken.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Out {
    pub(super) seq: u64,
    pub(super) id: String,
    pub(super) failures: u32,
    pub(super) deliveries: u32,
}

impl Shelf {
    pub(super) fn new(spec: QueueSpec) -> Self {
        let (rows, seen, dead) = Default::default();
        Self { spec, rows, seen, dead, completed: Vec::new(), lined_ever: 0 }
    }

    /// Whether it has seen the message.
    pub(super) fn has_seen(&self, letter: &Letter, now: Timestamp) -> bool {
        !letter.is_copy && self.seen.get(&known_by(letter)).is_some_and(|until| now < *until)
    }

    /// Whether it has one of the message's key, and wants no other.
    pub(super) fn has_its_like(&self, letter: &Letter) -> bool {
        let of_key = |row: &Row| letter.key.is_some() && row.letter.key == letter.key;
        self.spec.unique && !letter.is_copy && self.rows.values().any(of_key)
    }

    pub(super) fn is_full(&self, letter: &Letter) -> bool {
        let max = self.spec.length_max.unwrap_or(u64::MAX);
        !letter.is_copy && self.rows.len() as u64 >= max
    }

    pub(super) fn put(&mut self, seq: u64, letter: Letter, now: Timestamp) {
        self.refresh(now);
        if let Some(window) = self.spec.dedup_window.filter(|_| !letter.is_copy) {
            self.seen.insert(known_by(&letter), now.after(window));
        }
        let mut row = Row { letter, deliveries: 0, wait: Wait::Free, since: now, lined: None };
        match row.letter.due.filter(|due| *due > now) {
            Some(due) => row.wait = Wait::Until(due),
            None => row.lined = Some(self.line_up()),
        }
        self.rows.insert(seq, row);
    }

    /// What is taken next. With `at_once`, who stood behind a message that had expired goes in the
    /// same look, else in the next one: between keys, either order is right.
    pub(super) fn take(&mut self, now: Timestamp, at_once: bool) -> Option<Out> {
        self.refresh(now);
        loop {
            let line = self.takeable();
            if line.is_empty() {
                return None;
            }
            for seq in line {
                let row = self.rows.get_mut(&seq)?;
                if row.letter.expires_at.is_some_and(|at| at <= now) {
                    self.bury(seq, 0);
                    if at_once {
                        break;
                    }
                    continue;
                }
                row.deliveries += 1;
                row.wait = Wait::Taken;
                let Letter { id, failures, .. } = row.letter.clone();
                return Some(Out { seq, id, failures, deliveries: row.deliveries });
            }
        }
    }

    pub(super) fn ack(&mut self, seq: u64) {
        let row = self.rows.remove(&seq).expect("it is taken");
        if self.spec.keep_completed.is_some() {
            self.completed.push(row.letter.id);
        }
    }

    pub(super) fn give_back(&mut self, seq: u64) {
        let row = self.rows.get_mut(&seq).expect("it is taken");
        (row.wait, row.deliveries) = (Wait::Free, row.deliveries - 1);
    }

    pub(super) fn retry(&mut self, seq: u64, after: Duration, now: Timestamp) {
        let row = self.rows.get_mut(&seq).expect("it is taken");
        (row.deliveries, row.letter.failures) = (0, row.letter.failures + 1);
        row.since = now.after(after);
        row.wait = if after.is_zero() { Wait::Free } else { Wait::Until(row.since) };
    }

    pub(super) fn bury(&mut self, seq: u64, more: u32) {
        let mut row = self.rows.remove(&seq).expect("it is there");
        row.letter.failures += more;
        self.dead.insert(seq, row.letter);
    }

    /// Everything that is taken is lost by its taker.
    pub(super) fn lose(&mut self) {
        let taken = self.rows.values_mut().filter(|row| row.wait == Wait::Taken);
        taken.for_each(|row| row.wait = Wait::Free);
    }

    pub(super) fn redrive(&mut self, seq: u64, new: u64, now: Timestamp) {
        let letter = self.dead.remove(&seq).expect("it is dead");
        let again = Letter { failures: 0, expires_at: None, due: None, is_copy: true, ..letter };
        self.put(new, again, now);
    }

    pub(super) fn purge(&mut self, now: Timestamp) -> u64 {
        self.refresh(now);
        let before = self.rows.len();
        self.rows.retain(|_, row| row.wait != Wait::Free);
        (before - self.rows.len()) as u64
    }

    /// The ids of what was handled and is kept, in the order in which it was handled.
    pub(super) fn completed(&self) -> &[String] {
        &self.completed
    }

    /// Ready, leased and delayed rows, and dead letters.
    pub(super) fn depth(&mut self, now: Timestamp) -> [u64; 4] {
        self.refresh(now);
        let count =
            |is: fn(&Wait) -> bool| self.rows.values().filter(|row| is(&row.wait)).count() as u64;
        let [ready, leased, delayed] = [
            count(|wait| *wait == Wait::Free),
            count(|wait| *wait == Wait::Taken),
            count(|wait| matches!(wait, Wait::Until(_))),
        ];
        [ready, leased, delayed, self.dead.len() as u64]
    }

    /// How long the oldest of those has waited that are ready.
    pub(super) fn age(&mut self, now: Timestamp) -> Option<Duration> {
        self.refresh(now);
        let ready = self.rows.values().filter(|row| row.wait == Wait::Free);
        ready.map(|row| row.since).min().map(|since| now.since(since))
    }

    /// What is due lines up, in the order of its times.
    fn refresh(&mut self, now: Timestamp) {
        let mut due: Vec<(Timestamp, u64)> = Vec::new();
        for (seq, row) in &self.rows {
            match row.wait {
                Wait::Until(at) if at <= now => due.push((at, *seq)),
                _ => {}
            }
        }
        due.sort();
        for (at, seq) in due {
            let next = self.line_up();
            let row = self.rows.get_mut(&seq).expect("it was just there");
            row.lined.get_or_insert(next);
            (row.wait, row.since) = (Wait::Free, at);
        }
    }

    /// What can be taken, the next one first.
    fn takeable(&self) -> Vec<u64> {
        let free = self.rows.iter().filter(|(_, row)| row.wait == Wait::Free);
        let mut heads: Vec<(i64, u64)> = free
            .filter(|(seq, row)| self.is_first(**seq, row))
            .map(|(seq, row)| (self.rank(&row.letter), *seq))
            .collect();
        heads.sort();
        heads.into_iter().map(|(_, seq)| seq).collect()
    }

    fn is_first(&self, seq: u64, row: &Row) -> bool {
        let Some(lane) = self.lane(&row.letter) else { return true };
        let others = self.rows.iter().filter(|(other, _)| **other != seq);
        let mut of_lane = others.filter(|(_, other)| self.lane(&other.letter) == Some(lane));
        of_lane.all(|(_, other)| other.lined.is_none_or(|lined| Some(lined) > row.lined))
    }

    fn lane<'l>(&self, letter: &'l Letter) -> Option<&'l str> {
        match self.spec.ordering {
            Ordering::None => None,
            Ordering::PerKey => letter.key.as_deref(),
            Ordering::PerQueue => Some(""),
        }
    }

    fn rank(&self, letter: &Letter) -> i64 {
        let max = self.spec.priority_max.unwrap_or(0);
        -i64::from(letter.priority.unwrap_or(0).min(max))
    }

    fn line_up(&mut self) -> u64 {
        self.lined_ever += 1;
        self.lined_ever
    }
}

/// What a message is known by.
fn known_by(letter: &Letter) -> String {
    letter.once.as_ref().map_or_else(|| format!("id {}", letter.id), |once| format!("key {once}"))
}
