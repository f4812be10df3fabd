//! What is found in the file and in the journals when all processes have ended.

use super::consumer::FILE;
use super::journal;
use std::collections::BTreeSet;
use std::path::Path;
use tramline::sqlite::rusqlite::{self, Connection, OpenFlags};

/// Everything that a round is judged by.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// What producers know to be accepted.
    pub(crate) confirmed: BTreeSet<u64>,
    /// In the order of their commits.
    pub(crate) effects: Vec<Effect>,
    pub(crate) dead: Vec<DeadLetter>,
    /// What SQLite says to `integrity_check`.
    pub(crate) integrity: String,
    /// What should have gone with the messages and with the processes.
    pub(crate) leftovers: Vec<String>,
}

/// What a handler has written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Effect {
    pub(crate) endpoint: String,
    pub(crate) number: u64,
    pub(crate) key: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeadLetter {
    pub(crate) queue: String,
    pub(crate) number: u64,
    pub(crate) reason: String,
}

impl Evidence {
    pub(crate) fn collect(folder: &Path) -> Result<Self, String> {
        let failed = |what: &str, error: String| format!("failed to read {what}: {error}");
        let confirmed =
            journal::read_all(folder).map_err(|error| failed("the journals", error.to_string()))?;
        let file = Connection::open(folder.join(FILE))
            .and_then(|connection| {
                Ok(Self {
                    confirmed,
                    effects: effects(&connection)?,
                    dead: dead(&connection)?,
                    integrity: connection
                        .query_row("PRAGMA integrity_check", [], |row| row.get(0))?,
                    leftovers: leftovers(&connection)?,
                })
            })
            .map_err(|error| failed("the file", error.to_string()))?;
        Ok(file)
    }
}

fn effects(connection: &Connection) -> rusqlite::Result<Vec<Effect>> {
    let sql = "SELECT endpoint, number, key FROM effect ORDER BY id";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        let number: i64 = row.get(1)?;
        Ok(Effect { endpoint: row.get(0)?, number: number.cast_unsigned(), key: row.get(2)? })
    })?;
    rows.collect()
}

fn dead(connection: &Connection) -> rusqlite::Result<Vec<DeadLetter>> {
    let sql = "SELECT q.name, json_extract(CAST(b.body AS TEXT), '$.number'), d.reason
         FROM tramline_dead d JOIN tramline_queue q ON q.id = d.queue
         JOIN tramline_body b ON b.id = d.seq";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        let number: i64 = row.get(1)?;
        let number = number.cast_unsigned();
        Ok(DeadLetter { queue: row.get(0)?, number, reason: row.get(2)? })
    })?;
    rows.collect()
}

fn leftovers(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut found = Vec::new();
    let bodies = at_work(connection)?;
    if bodies != 0 {
        found.push(format!("{bodies} bodies more than there are in queues"));
    }
    let kept = [
        ("tramline_leased", "messages that processes took and did not give back"),
        ("tramline_lane", "keys that are locked for no message"),
    ];
    for (table, what) in kept {
        let sql = format!("SELECT count(*) FROM {table}");
        let rows: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
        if rows != 0 {
            found.push(format!("{rows} {what}"));
        }
    }
    Ok(found)
}

/// How often messages are in queues and not dead: each body counts the queues that have it.
fn at_work(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT (SELECT coalesce(sum(refs), 0) FROM tramline_body)
                    - (SELECT count(*) FROM tramline_dead)";
    connection.query_row(sql, [], |row| row.get(0))
}

/// Looks into the file while processes are at work on it.
pub(crate) struct Onlooker(Connection);

impl Onlooker {
    pub(crate) fn new(folder: &Path) -> Result<Self, String> {
        let open = || -> rusqlite::Result<Connection> {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(folder.join(FILE), flags)?;
            connection.busy_timeout(std::time::Duration::from_secs(10))?;
            Ok(connection)
        };
        open().map(Self).map_err(|error| format!("failed to open the file to look: {error}"))
    }

    /// How many messages are neither handled nor dead.
    pub(crate) fn at_work(&self) -> Result<i64, String> {
        at_work(&self.0).map_err(|error| format!("failed to count what is at work: {error}"))
    }
}
