//! The bus on PostgreSQL, beside the best that could be written by hand.
//!
//! ```text
//! cargo xtask bench postgres [--case WORDS] [--rounds 5] [--seconds 1] [--messages N]
//! cargo xtask bench postgres --idle
//! cargo xtask bench postgres --growth [--messages 5000000]
//! ```
//!
//! It uses the server of `cargo xtask services up postgres`, or the one that `TRAMLINE_POSTGRES_URL`
//! names, with a database of its own; the outbox case also wants RabbitMQ. Client and server share the
//! machine, so *the server's CPU* of a message is printed too: that of all processes of the server, its
//! checkpoints and vacuums included (and whatever else that server does meanwhile).
//!
//! The cases, and what their twins do:
//!
//! - *enqueue*: it writes the same rows into the same table, in groups: whatever waits is one
//!   `INSERT … SELECT FROM unnest(…)` on one connection. Or 16 connections with an `INSERT` each.
//! - *consume and ack*: it takes 1000 by a lease in the row (`UPDATE … FOR UPDATE SKIP LOCKED …
//!   RETURNING`, not synced) and acks whatever is done with one `DELETE`. Or it is the crate
//!   `apalis-postgres`, in a program of its own.
//! - *end to end*: the same two, in two processes; who finds nothing looks again after 1 ms.
//! - *pipeline*: the ack, a row of the handler's and the next event in one transaction of two round
//!   trips, on as many connections as ours has. Or, beside queued statements, of 64 messages together:
//!   each step is one statement for all of them.
//! - *outbox*: a row and an event in a transaction of one round trip each, and one relay that takes 100,
//!   publishes, awaits the confirms, deletes and commits.
//!
//! `--idle` counts the statements of a bus that has nothing to do, in the log of a server of its own.
//! `--growth` sends millions through one queue: the rate, and what the tables and their indices take on
//! the disk, at points on the way; then again while another session holds an old snapshot, so that no
//! vacuum can remove what was deleted.

mod apalis;
mod cases;
mod database;
pub(crate) mod growth;
mod idle;
mod ours;
mod outbox;
pub(crate) mod peer;
mod pipeline;
mod server;
mod twin;

pub(crate) use cases::cases;
pub(crate) use idle::cases as idle_cases;
