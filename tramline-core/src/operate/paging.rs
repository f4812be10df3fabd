//! How many messages are looked at at once, for drivers.

use super::Peeked;

/// Pages that fit into memory however large the messages are: they grow as long as they stay within
/// about 8 MiB, and never to more than [`Paging::PAGE_MAX`] messages.
#[derive(Clone, Copy, Debug)]
pub struct Paging {
    next: u32,
}

impl Paging {
    /// The most messages of one page.
    pub const PAGE_MAX: u32 = 500;

    /// Before the first page.
    pub const fn new() -> Self {
        const FIRST: u32 = 16;
        Self { next: FIRST }
    }

    /// How many messages to ask for next, at least 1.
    pub fn next(self) -> u32 {
        self.next
    }

    /// Hears what the last page was: the next one has at most twice as many.
    pub fn heard(&mut self, page: &[Peeked]) {
        const BYTES: u64 = 8 * 1024 * 1024;
        let bytes = |peeked: &Peeked| peeked.envelope.body.len() + peeked.envelope.header_bytes();
        let bytes: u64 = page.iter().map(|peeked| bytes(peeked) as u64).sum();
        let fit = BYTES * page.len() as u64 / bytes.max(1);
        let larger = self.next.saturating_mul(2).min(Self::PAGE_MAX);
        self.next = u32::try_from(fit).unwrap_or(u32::MAX).clamp(1, larger);
    }
}

impl Default for Paging {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Envelope;
    use std::sync::Arc;

    fn page(count: u32, bytes: usize) -> Vec<Peeked> {
        let envelope = Arc::new(Envelope { body: vec![0; bytes].into(), ..Envelope::default() });
        let peeked = Peeked { position: 1, envelope, failures: 0, due: None, death: None };
        vec![peeked; count as usize]
    }

    #[test]
    fn pages_of_small_messages_grow_to_the_most_and_those_of_large_ones_shrink_to_one() {
        let mut paging = Paging::new();
        let sizes: Vec<u32> = (0..8)
            .map(|_| {
                paging.heard(&page(paging.next(), 1_000));
                paging.next()
            })
            .collect();
        assert_eq!(sizes, [32, 64, 128, 256, 500, 500, 500, 500]);
        paging.heard(&page(500, 16 * 1024 * 1024));
        assert_eq!(paging.next(), 1);
        paging.heard(&page(1, 1024 * 1024));
        assert_eq!(paging.next(), 2);
        paging.heard(&page(2, 1024 * 1024));
        paging.heard(&page(4, 1024 * 1024));
        paging.heard(&page(8, 1024 * 1024));
        assert_eq!(paging.next(), 8, "8 MiB");
    }
}
