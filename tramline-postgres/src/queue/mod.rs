//! Queues, and how a message becomes rows in them.

mod declare;
mod parcel;
mod routes;
mod temporary;

pub(crate) use declare::declare;
pub(crate) use parcel::{BODY_BYTES_MAX, HEADER_BYTES_MAX, Parcel, refuse_what_cannot_be_kept};
pub(crate) use routes::{Legs, Queue, RouteRow, Routes};
pub(crate) use temporary::Temporary;
