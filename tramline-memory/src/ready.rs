//! What can be taken, and in which order. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

/// An empty line keeps room for so many, so that a short one is not allocated again and again.
const ROOM_KEPT: usize = 1_024;

/// Ids of rows: those of a higher rank first, and of one rank the smaller ids.
///
/// Almost every id is put behind all others of its rank and taken from the front; what is given back
/// stands near the front. So a rank is a line, and no tree.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    lines: BTreeMap<Reverse<u8>, VecDeque<i64>>,
    len: usize,
}

impl Ready {
    /// Puts an id, which is not here yet, into its place.
    pub(crate) fn insert(&mut self, rank: u8, id: i64) {
        let line = self.lines.entry(Reverse(rank)).or_default();
        match line.back() {
            Some(last) if *last > id => line.insert(line.partition_point(|other| *other < id), id),
            _ => line.push_back(id),
        }
        self.len += 1;
    }

    pub(crate) fn first(&self) -> Option<i64> {
        self.lines.values().find_map(VecDeque::front).copied()
    }

    pub(crate) fn pop_first(&mut self) -> Option<i64> {
        let line = self.lines.values_mut().find(|line| !line.is_empty())?;
        let first = line.pop_front();
        if line.is_empty() {
            line.shrink_to(ROOM_KEPT);
        }
        self.len -= 1;
        first
    }

    /// Takes an id out. Answers whether it was here.
    pub(crate) fn remove(&mut self, rank: u8, id: i64) -> bool {
        let line = self.lines.get_mut(&Reverse(rank));
        let place = line.and_then(|line| Some((line.binary_search(&id).ok()?, line)));
        let Some((index, line)) = place else { return false };
        line.remove(index);
        self.len -= 1;
        true
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl IntoIterator for Ready {
    type Item = i64;
    type IntoIter =
        std::iter::Flatten<std::collections::btree_map::IntoValues<Reverse<u8>, VecDeque<i64>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.lines.into_values().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn ids_come_by_rank_and_then_by_size_whatever_was_put_taken_and_removed(
            steps in prop::collection::vec((0..4u8, 0..3u8, 0..20i64), 0..60),
        ) {
            let (mut ready, mut model) = (Ready::default(), BTreeSet::new());
            for (step, rank, id) in steps {
                let known = model.iter().any(|(_, other)| *other == id);
                match step {
                    0 | 1 if !known => {
                        ready.insert(rank, id);
                        model.insert((Reverse(rank), id));
                    }
                    2 => {
                        let first = model.pop_first().map(|(_, id)| id);
                        prop_assert_eq!(ready.pop_first(), first);
                    }
                    _ => {
                        let was_here = model.remove(&(Reverse(rank), id));
                        prop_assert_eq!(ready.remove(rank, id), was_here);
                    }
                }
                let first = model.first().map(|(_, id)| *id);
                prop_assert_eq!((ready.first(), ready.len()), (first, model.len()));
            }
            let left: Vec<i64> = model.into_iter().map(|(_, id)| id).collect();
            prop_assert_eq!(ready.into_iter().collect::<Vec<_>>(), left);
        }
    }
}
