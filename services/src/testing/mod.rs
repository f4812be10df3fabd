//! What tests hold beside a server: a vhost for each of them, users of it, and clients that know
//! nothing of Tramline. It panics where a test would.

mod python;
mod user;
mod vhost;

pub use python::{SEND, python, script};
pub use user::User;
pub use vhost::{PATIENCE, Raw, Vhost, broker};
