//! The engine on a real PostgreSQL.

mod draining;
mod failing;
mod from_sql;
mod requests;
mod scheduling;
