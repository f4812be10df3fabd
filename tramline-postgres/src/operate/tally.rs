//! What a database counts about itself, so that figures outlive the processes that made them.

use crate::postgres::Postgres;
use tramline_core::Result;

/// What happened in a database since its tables were made, whichever processes were at work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Deliveries that were taken back from processes that died or no longer moved.
    pub redelivered: u64,
    /// Messages that an inbox knew already.
    pub duplicates: u64,
}

impl Postgres {
    /// Reads the tally.
    ///
    /// # Errors
    /// The server cannot be reached or fails.
    pub async fn tally(&self) -> Result<Tally> {
        const SQL: &str = "SELECT name, sum(by)::bigint FROM tramline.tally GROUP BY name";
        let mut tally = Tally::default();
        for row in self.look("read the tally", SQL, &[]).await? {
            let count = row.get::<_, i64>(1).unsigned_abs();
            match row.get(0) {
                "redelivered" => tally.redelivered = count,
                "duplicates" => tally.duplicates = count,
                // Counted by a newer program.
                _ => {}
            }
        }
        Ok(tally)
    }
}
