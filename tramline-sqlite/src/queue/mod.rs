//! Queues as rows: who gets a message, and how it is written down.

pub(crate) mod declare;
pub(crate) mod lane;
pub(crate) mod parcel;
pub(crate) mod place;
pub(crate) mod release;
pub(crate) mod routes;
pub(crate) mod sql;
pub(crate) mod unrouted;
