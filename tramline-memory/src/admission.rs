//! Which messages may come in, before any of them is put anywhere. Pure.

use crate::posting::Post;
use crate::routes::QueueNumber;
use crate::state::State;
use crate::window::Known;
use std::collections::{HashMap, HashSet};
use tramline_core::Result;

/// Judges messages one after the other, each as if those that were let in before were in their
/// queues already. So a transaction can be judged as a whole, and nothing needs to be undone.
pub(crate) struct Admission<'a> {
    state: &'a State,
    /// How many were let in, for queues with a maximum.
    added: HashMap<usize, usize>,
    /// How many leave in the same change, and make room for others.
    leaving: HashMap<usize, usize>,
    /// How many rows free each key, in the same change.
    freed: HashMap<(usize, &'a str), usize>,
    /// What was let in, for queues that remember.
    known: HashSet<(usize, Known)>,
    /// The keys of what was let in, for queues that have one of each.
    unique: HashSet<(usize, String)>,
}

impl<'a> Admission<'a> {
    pub(crate) fn new(state: &'a State) -> Self {
        let (added, leaving, freed) = Default::default();
        Self { state, added, leaving, freed, known: HashSet::new(), unique: HashSet::new() }
    }

    /// The same, while these rows leave their queues.
    pub(crate) fn beside(mut self, rows: &[(QueueNumber, i64)]) -> Self {
        for (queue, row) in rows {
            *self.leaving.entry(queue.0).or_default() += 1;
            let queue_of = self.state.look(*queue);
            if let Some(key) = queue_of.key_of(*row).filter(|_| queue_of.unique.is_some()) {
                *self.freed.entry((queue.0, key)).or_default() += 1;
            }
        }
        self
    }

    /// The copies of one message that are to be put: all but those that were sent before, or whose like is there.
    ///
    /// # Errors
    /// One of the queues is full, so that none of the copies may be put.
    pub(crate) fn judge(&mut self, mut copies: Vec<Post>) -> Result<Vec<Post>> {
        let mut full = None;
        copies.retain_mut(|post| match self.is_new(post) {
            Ok(is_new) => is_new,
            Err(error) => full.replace(error).is_none(),
        });
        if let Some(error) = full {
            return Err(error);
        }
        for Post { to, known, row, .. } in &copies {
            let queue = self.state.look(*to);
            if queue.length_max.is_some() {
                *self.added.entry(to.0).or_default() += 1;
            }
            if queue.unique.is_some() {
                self.unique.extend(row.envelope.key.clone().map(|key| (to.0, key)));
            }
            self.known.extend(known.clone().map(|known| (to.0, known)));
        }
        Ok(copies)
    }

    /// Whether a copy is to be put; `false`: it was sent before, or its like is there.
    fn is_new(&self, post: &mut Post) -> Result<bool> {
        let queue = self.state.look(post.to);
        if post.is_copy {
            return Ok(true);
        }
        if let (Some(held), Some(key)) = (&queue.unique, &post.row.envelope.key) {
            let freed = self.freed.get(&(post.to.0, key)).copied().unwrap_or(0);
            if held.is_held(key, freed) || self.unique.contains(&(post.to.0, key.clone())) {
                return Ok(false);
            }
        }
        if let Some(window) = &queue.window
            && let Some(known) = Known::of(&post.row.envelope)
        {
            let entry = (post.to.0, known);
            if window.knows(&entry.1, post.row.since) || self.known.contains(&entry) {
                return Ok(false);
            }
            post.known = Some(entry.1);
        }
        let count = |counts: &HashMap<usize, usize>| counts.get(&post.to.0).copied().unwrap_or(0);
        queue.check_room(count(&self.added), count(&self.leaving))?;
        Ok(true)
    }
}
