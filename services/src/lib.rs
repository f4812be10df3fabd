//! Real servers for the project's tests, benches and crash tests: found or installed, started with
//! data and ports of their own on loopback, killed, and started again on the same data.
//!
//! `cargo xtask services` is the command line of it. A server's name is its kind (`postgres`), with
//! `@` and a word for a further one of its own data (`postgres@faults`), with `/` and a number for
//! one member of a cluster (`rabbitmq-cluster/2`). Data lie in `services/NAME` of the build's target
//! folder.
//!
//! A test that only needs a server asks [`postgres::shared_url`] or [`rabbitmq::shared_url`]; one that
//! kills it or changes its settings has a [`postgres::Server::temporary`] or
//! [`rabbitmq::Server::temporary`] to itself. All end in [`or_skip`], which lets a test pass over what
//! cannot be had here, unless `cargo xtask test --require` forbids it.
//!
//! With the feature `testing` there is what tests hold beside a server, such as a database or a vhost
//! for each of them.
//!
//! To add a server: a module like `postgres/` that implements `Single`, or [`Service`] if it has
//! members, and a line in `catalog.rs`. It links no crate of Tramline, so that it works while they do
//! not build.

mod account;
mod beside;
mod catalog;
mod certificates;
mod compose;
mod error;
mod folder;
mod http;
mod install;
mod ports;
pub mod postgres;
mod process;
pub mod rabbitmq;
mod service;
mod single;
mod skip;
mod starting;
mod temporary;
#[cfg(feature = "testing")]
pub mod testing;

pub use catalog::{Name, all, kinds, named, shared_kinds};
pub use certificates::Certificates;
pub use error::{Error, Result};
pub use http::Answer;
pub use install::Install;
pub use service::{Member, Service, State};
pub use skip::or_skip;
pub use temporary::{Temporary, temporary};
