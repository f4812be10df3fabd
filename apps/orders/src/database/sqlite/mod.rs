//! The business tables in SQLite: all of its SQL, and nothing else.

mod database;
mod effects;
mod figures;
mod order_book;
mod runs;
mod schema;

pub(crate) use database::{Database, server};
pub(crate) use effects::{add_to_months, enter_charge, remember_vip, send_mail, take_from_stock};
pub(crate) use order_book::OrderBook;
pub(crate) use runs::KillRecord;
