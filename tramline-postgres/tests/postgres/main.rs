//! What PostgreSQL promises beyond the contracts, on a real server.

mod alike;
mod connections;
mod dying;
mod ending;
mod failover;
mod from_sql;
mod full_disk;
mod healing;
mod kit;
mod migrating;
mod notifying;
mod operating;
mod ordering;
mod own_transactions;
mod pooler;
mod publishing;
mod refusing;
mod relaying;
mod several;
mod taking;
mod tls;
mod trouble;
mod unheard;
mod values;
mod writing;
