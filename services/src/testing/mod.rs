//! What tests hold beside a server: a vhost or a database for each of them, users and roles with
//! fewer rights, and clients that know nothing of Tramline. It panics where a test would.

mod database;
mod python;
mod role;
mod sql;
mod test;
mod user;
mod vhost;

pub use database::Database;
pub use python::{SEND, python, script};
pub use role::Role;
pub use sql::Rows;
pub use test::PATIENCE;
use test::unique;
pub use user::User;
pub use vhost::{Raw, Vhost, broker};
