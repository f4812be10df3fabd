//! The engine on a real PostgreSQL.

mod from_sql;
