//! What producers and handlers have left behind.

use super::service::{BOOKED, FILE, NOTED};
use crate::servers::{Evidence, Record};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tramline::sqlite::rusqlite::{self, Connection, OpenFlags};

/// What was confirmed, and what `endpoints` have handled of it.
pub(crate) fn evidence(record: &Record, endpoints: &[&'static str]) -> Result<Evidence, String> {
    let once = vec![BOOKED, NOTED];
    let mut evidence = Evidence { once, confirmed: record.confirmed()?, ..Evidence::default() };
    for endpoint in endpoints {
        let handled = match *endpoint {
            BOOKED | NOTED => stored(record.folder(), endpoint)?,
            _ => record.handled(endpoint)?,
        };
        evidence.handled.insert(endpoint, handled);
    }
    Ok(evidence)
}

fn stored(folder: &Path, endpoint: &str) -> Result<BTreeMap<u64, usize>, String> {
    let read = || -> rusqlite::Result<BTreeMap<u64, usize>> {
        const PATIENCE: Duration = Duration::from_secs(10);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(folder.join(FILE), flags)?;
        connection.busy_timeout(PATIENCE)?;
        let sql = "SELECT number, count(*) FROM effect WHERE endpoint = ?1 GROUP BY number";
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map([endpoint], |row| {
            let (number, times): (i64, i64) = (row.get(0)?, row.get(1)?);
            Ok((number.cast_unsigned(), times as usize))
        })?;
        rows.collect()
    };
    read().map_err(|error| format!("failed to read what {endpoint} has stored: {error}"))
}
