//! What PostgreSQL promises beyond the contracts, on a real server.

mod dying;
mod ending;
mod from_sql;
mod healing;
mod kit;
mod operating;
mod own_transactions;
mod publishing;
mod relaying;
mod several;
mod tls;
