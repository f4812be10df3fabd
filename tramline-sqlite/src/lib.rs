//! Tramline on a SQLite file: the embedded default, which needs no server.
//!
//! [`Sqlite`] is a transport and a store at once. Read in the order of a message's life:
//!
//! 1. [`sqlite`](Sqlite), `open`: a file is opened; `schema`: its tables
//! 2. `writer`: the one thread that writes, in groups; `queue`: a message becomes rows
//! 3. `deliver`: rows are taken, handed out and settled; `processes`: by several processes
//! 4. `store`: handlers write in the same transaction
//! 5. `operate`: what operators see and do

mod deliver;
mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod open;
mod operate;
mod options;
mod processes;
mod queue;
mod schema;
mod sender;
mod sqlite;
mod store;
mod transport;
mod url;
mod writer;

pub use deliver::delivery::SqliteDelivery;
pub use deliver::receiver::SqliteReceiver;
pub use operate::Tally;
pub use options::{SqliteOptions, Sync};
pub use rusqlite;
pub use sender::SqliteSender;
pub use sqlite::Sqlite;
/// The `sqlx` whose transactions are taken.
#[cfg(feature = "sqlx")]
pub use sqlx;
#[cfg(feature = "sqlx")]
pub use store::TransactionOutbox;
pub use store::{Db, Snapshot, SqliteTx, SqliteWriter};
