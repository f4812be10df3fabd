//! What is measured of group transactions. All are on the disk before they are answered.

use super::{ours, twin};
use crate::round::{Amount, Case, RATE};

/// How many messages are at work.
pub(super) const IN_FLIGHT: usize = 256;

/// The handler's own table.
pub(crate) const TABLE: &str = "CREATE TABLE ledger (
    id INTEGER PRIMARY KEY,
    order_id INTEGER NOT NULL,
    cents INTEGER NOT NULL
)";
/// What a handler writes.
pub(crate) const INSERT: &str = "INSERT INTO ledger (order_id, cents) VALUES (?1, ?2)";

/// How the backlog came.
#[derive(Clone, Copy)]
pub(super) enum Came {
    /// Published inside a transaction: it exists once and needs no inbox row.
    FromHandler,
    /// Sent by a client, so that it may come twice.
    FromClient,
}

impl Came {
    pub(super) fn flags(self) -> i64 {
        match self {
            Self::FromHandler => 1,
            Self::FromClient => 0,
        }
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |name: &str, came: Came| Case {
        name: format!("ack + insert + event, {name}, {IN_FLIGHT} in flight"),
        figures: RATE,
        amount: Amount::FullSpeed { first: 10_000, max: 150_000 },
        ours: Box::new(move |messages| ours::handle(messages, came)),
        twin: Some(Box::new(move |messages| twin::handle(messages, came))),
    };
    vec![
        case("from a handler", Came::FromHandler),
        case("from a client (inbox row)", Came::FromClient),
    ]
}
