//! The engine on a real PostgreSQL.

mod failing;
mod from_sql;
