//! The business tables. All SQL is in one module per database; handlers that write name theirs.

mod rows;
pub(crate) mod sqlite;

pub(crate) use rows::{Due, Effects, KnownOrder, Placed, Takings};
pub(crate) use sqlite::{Database, OrderBook, server};
