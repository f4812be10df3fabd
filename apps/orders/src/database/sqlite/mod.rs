//! The business tables in SQLite: all of its SQL, and nothing else.

mod database;
mod effects;
mod figures;
mod order_book;
mod runs;
mod schema;

pub(crate) use database::Database;
pub(crate) use order_book::OrderBook;
