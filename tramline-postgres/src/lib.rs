//! Tramline on PostgreSQL: a store beside any broker, and a queue that needs no broker at all.
//!
//! [`Postgres`] is a transport and a store at once. What must be the same for the bus, for a user's
//! own transaction and for plain SQL stands in functions of the schema `tramline`; this crate binds
//! arguments and reads rows. Read in the order of a message's life:
//!
//! 1. [`postgres`](Postgres), `open`: a database is opened; `schema`: its tables and functions
//! 2. `link`: connections that are made again; `queue`, `send`: a message becomes rows, with many others
//! 3. `deliver`: rows are taken, handed out and settled; `processes`: by several processes
//! 4. `store`: handlers write in the same transaction
//! 5. `operate`: what operators see and do

mod capabilities;
mod deliver;
mod error;
mod link;
mod open;
mod operate;
mod options;
mod postgres;
mod processes;
mod queue;
mod schema;
mod send;
mod store;
mod transport;

pub use deliver::{PostgresDelivery, PostgresReceiver};
pub use operate::Tally;
pub use options::PostgresOptions;
pub use postgres::Postgres;
pub use schema::migrations;
pub use send::PostgresSender;
pub use sqlx;
pub use store::{Parameter, Parameters, PostgresTx, PostgresWriter, TransactionOutbox};
