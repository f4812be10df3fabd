//! What is found in the file and in the journals when all processes have ended.

use super::consumer::FILE;
use super::elsewhere::STORE_FILE;
use crate::journal;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use tramline::sqlite::rusqlite::{self, Connection, OpenFlags};

/// Everything that a round is judged by.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// What producers know to be accepted.
    pub(crate) confirmed: BTreeSet<u64>,
    /// In the order of their commits.
    pub(crate) effects: Vec<Effect>,
    pub(crate) dead: Vec<DeadLetter>,
    /// What SQLite says to `integrity_check` of each file.
    pub(crate) integrity: Vec<String>,
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
        let mut evidence = Self { confirmed, ..Self::default() };
        for file in [FILE, STORE_FILE].map(|name| folder.join(name)) {
            // Not every kind of round has the second.
            if file.exists() {
                let name = file.display().to_string();
                evidence.add(&file).map_err(|error| failed(&name, error.to_string()))?;
            }
        }
        Ok(evidence)
    }

    fn add(&mut self, file: &Path) -> rusqlite::Result<()> {
        let connection = Connection::open(file)?;
        self.effects.extend(effects(&connection)?);
        self.dead.extend(dead(&connection)?);
        self.integrity.push(connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?);
        self.leftovers.extend(leftovers(&connection)?);
        Ok(())
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
        ("tramline_ready", "messages that nobody took"),
        ("tramline_delayed", "messages that wait"),
        ("tramline_behind", "messages that stand behind others of their keys"),
        ("tramline_leased", "messages that processes took and did not give back"),
        ("tramline_lane", "keys that are locked for no message"),
        ("tramline_outbox", "rows that no relay has sent"),
        ("tramline_outbox_aside", "rows that relays have given up"),
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

/// How many rows wait to be sent by a relay.
fn unsent(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT count(*) FROM tramline_outbox", [], |row| row.get(0))
}

/// Looks into the files while processes are at work on them.
pub(crate) struct Onlooker {
    queues: Connection,
    store: Option<Connection>,
}

impl Onlooker {
    pub(crate) fn new(folder: &Path) -> Result<Self, String> {
        let open = |name: &str| {
            look_into(&folder.join(name)).map_err(|e| format!("failed to open {name} to look: {e}"))
        };
        let store = folder.join(STORE_FILE).exists().then(|| open(STORE_FILE)).transpose()?;
        Ok(Self { queues: open(FILE)?, store })
    }

    /// How many messages are neither handled nor dead. None are, only if nothing was in the queues
    /// before and behind the look at the outbox.
    pub(crate) fn at_work(&self) -> Result<i64, String> {
        let look = || -> rusqlite::Result<i64> {
            let unsent = |store: &Option<Connection>| store.as_ref().map_or(Ok(0), unsent);
            match at_work(&self.queues)? {
                0 => Ok(unsent(&self.store)? + at_work(&self.queues)?),
                some => Ok(some),
            }
        };
        look().map_err(|error| format!("failed to count what is at work: {error}"))
    }
}

/// A connection that can only read.
pub(crate) fn look_into(file: &Path) -> rusqlite::Result<Connection> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(PATIENCE)?;
    Ok(connection)
}
