//! What PostgreSQL promises beyond the contracts, on a real server.

mod dying;
mod ending;
mod from_sql;
mod kit;
mod operating;
mod own_transactions;
mod publishing;
mod several;
mod tls;
