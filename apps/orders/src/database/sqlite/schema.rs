//! The tables.
//!
//! Nothing that a handler writes is unique by order: a double charge or a second mail must show in
//! the figures, not vanish in a constraint.

use crate::database::stock::UNITS_DELIVERED;
use tramline::Failure;
use tramline::sqlite::Db;

const STATEMENTS: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS orders (
        order_id INTEGER PRIMARY KEY,
        user_id INTEGER NOT NULL,
        date TEXT NOT NULL,
        units INTEGER NOT NULL,
        cents INTEGER NOT NULL,
        event_id TEXT NOT NULL,
        received_at INTEGER NOT NULL
    )",
    "CREATE TABLE IF NOT EXISTS ledger (
        id INTEGER PRIMARY KEY,
        order_id INTEGER NOT NULL,
        cents INTEGER NOT NULL,
        attempt INTEGER NOT NULL
    )",
    "CREATE INDEX IF NOT EXISTS ledger_by_order ON ledger (order_id)",
    // More may be taken than there is: that is a back order, and nobody is charged for it.
    "CREATE TABLE IF NOT EXISTS stock (
        item TEXT PRIMARY KEY,
        units_delivered INTEGER NOT NULL,
        units_left INTEGER NOT NULL
    )",
    "CREATE TABLE IF NOT EXISTS mail (
        id INTEGER PRIMARY KEY,
        order_id INTEGER NOT NULL,
        text TEXT NOT NULL,
        written_at INTEGER NOT NULL
    )",
    "CREATE TABLE IF NOT EXISTS reminder (
        id INTEGER PRIMARY KEY,
        order_id INTEGER NOT NULL,
        text TEXT NOT NULL
    )",
    // One row for each night.
    "CREATE TABLE IF NOT EXISTS report (
        id INTEGER PRIMARY KEY,
        orders INTEGER NOT NULL,
        cents INTEGER NOT NULL,
        written_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
    )",
    "CREATE TABLE IF NOT EXISTS takings (
        month TEXT PRIMARY KEY,
        orders INTEGER NOT NULL,
        cents INTEGER NOT NULL
    )",
    "CREATE TABLE IF NOT EXISTS vip (
        id INTEGER PRIMARY KEY,
        order_id INTEGER NOT NULL,
        user_id INTEGER NOT NULL,
        cents INTEGER NOT NULL
    )",
    // Which broker the orders here went through; at most one row.
    "CREATE TABLE IF NOT EXISTS broker (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        name TEXT NOT NULL
    )",
    "CREATE TABLE IF NOT EXISTS run (
        id INTEGER PRIMARY KEY,
        started_at INTEGER NOT NULL,
        seen_at INTEGER NOT NULL
    )",
    "CREATE TABLE IF NOT EXISTS kill (
        id INTEGER PRIMARY KEY,
        run INTEGER NOT NULL,
        killed_at INTEGER NOT NULL,
        worker INTEGER NOT NULL,
        process INTEGER NOT NULL
    )",
];

/// Makes what is not there. Every process does so when it starts.
pub(super) fn create(db: &Db<'_>) -> Result<(), Failure> {
    for statement in STATEMENTS {
        db.execute(statement, [])?;
    }
    db.execute(
        "INSERT INTO stock (item, units_delivered, units_left) VALUES ('cd', ?1, ?1)
         ON CONFLICT DO NOTHING",
        [UNITS_DELIVERED],
    )?;
    Ok(())
}
