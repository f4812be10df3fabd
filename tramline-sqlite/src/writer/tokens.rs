//! The names of claims: numbers that are never used twice on one file.

use rusqlite::Connection;

/// Takes numbers from the file's counter in blocks, so that a claim costs no write of its own.
#[derive(Default)]
pub(super) struct Tokens {
    next: i64,
    end: i64,
}

impl Tokens {
    pub(super) fn next(&mut self, connection: &Connection) -> rusqlite::Result<i64> {
        const BLOCK: i64 = 1024;
        if self.next == self.end {
            let taken: i64 = connection
                .prepare_cached(
                    "UPDATE tramline_counter SET value = max(value, ?1) + ?2
                     WHERE name = 'token' RETURNING value",
                )?
                .query_row([self.next, BLOCK], |row| row.get(0))?;
            (self.next, self.end) = (taken - BLOCK, taken);
        }
        self.next += 1;
        Ok(self.next - 1)
    }

    /// The transaction that took the block may be gone, and with it the block.
    pub(super) fn forget(&mut self) {
        self.end = self.next;
    }
}
