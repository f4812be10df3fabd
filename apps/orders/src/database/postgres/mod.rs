//! The business tables in PostgreSQL: all of its SQL, and nothing else.

mod database;
mod effects;
mod figures;
mod order_book;
mod patience;
mod runs;
mod schema;

pub(crate) use database::Database;
pub(crate) use order_book::OrderBook;
