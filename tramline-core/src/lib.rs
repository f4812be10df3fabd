//! The words and contracts of Tramline: what a message is, what a transport and a store promise.
//!
//! This crate contains no I/O, no runtime, no clock that ticks by itself and no `unsafe`. Engines
//! and drivers meet here: a driver implements [`transport`] and [`store`] and only translates;
//! retry, delay, dead-letter policy, ordering and back-off are the engine's, written once.
//!
//! Read in the order of a message's life:
//!
//! 1. [`message`], [`codec`]: a Rust type and how it becomes bytes
//! 2. [`draft`]: a message with its options; [`compose`]: a draft becomes an [`envelope`]
//! 3. [`topology`], [`filter`]: queues, topics, and who gets a copy
//! 4. [`transport`]: send, receive, deliver; [`settlement`]: how a delivery ends
//! 5. [`store`]: handler's writes, inbox, outbox and ack in one transaction
//! 6. [`dead`], [`operate`]: what failed, and what an operator can do about it
//!
//! [`capabilities`] says what a transport can do, [`health`] how it is connected, [`wire`] how
//! metadata look on any broker, and [`erased`] makes contracts into objects, so that a URL can
//! choose the driver.

pub mod capabilities;
pub mod clock;
pub mod codec;
pub mod compose;
mod cut;
pub mod dead;
pub mod digest;
pub mod draft;
pub mod envelope;
pub mod erased;
pub mod error;
pub mod failure;
pub mod filter;
pub mod headers;
pub mod health;
pub mod id;
pub mod message;
pub mod name;
pub mod operate;
pub mod rows;
pub mod settlement;
pub mod store;
pub mod topology;
pub mod transport;
pub mod wire;

pub use error::{BoxError, Error, ErrorKind, Result};
pub use failure::Failure;
pub use message::Message;

/// A boxed future, for the few contracts that are used as objects only.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
