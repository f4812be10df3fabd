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
    /// What was let in, for queues that remember.
    known: HashSet<(usize, Known)>,
}

impl<'a> Admission<'a> {
    pub(crate) fn new(state: &'a State) -> Self {
        let (added, leaving) = (HashMap::new(), HashMap::new());
        Self { state, added, leaving, known: HashSet::new() }
    }

    /// The same, while a row leaves each of `queues`.
    pub(crate) fn beside(self, queues: &[QueueNumber]) -> Self {
        let mut leaving = HashMap::new();
        queues.iter().for_each(|queue| *leaving.entry(queue.0).or_default() += 1);
        Self { leaving, ..self }
    }

    /// The copies of one message that are to be put: all but those that were sent before.
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
        for Post { to, known, .. } in &copies {
            if self.state.look(*to).length_max.is_some() {
                *self.added.entry(to.0).or_default() += 1;
            }
            self.known.extend(known.clone().map(|known| (to.0, known)));
        }
        Ok(copies)
    }

    /// Whether a copy is to be put; `false`: it was sent before.
    fn is_new(&self, post: &mut Post) -> Result<bool> {
        let queue = self.state.look(post.to);
        if post.is_copy {
            return Ok(true);
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
