//! The business tables. All SQL is in one module per database, and what both have in common is here.

mod broker;
mod handle;
mod order_book;
mod postgres;
mod rows;
mod sqlite;
mod stock;
mod tables;

pub(crate) use broker::server;
pub(crate) use handle::{Database, Opened};
pub(crate) use order_book::OrderBook;
pub(crate) use rows::{Due, Effects, KillRecord, KnownOrder, Placed, Takings, Tally};
pub(crate) use stock::Stock;
pub(crate) use tables::Tables;
