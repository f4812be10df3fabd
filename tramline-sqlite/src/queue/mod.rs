//! Queues as rows: who gets a message, and how it is written down.

mod admit;
pub(crate) mod declare;
pub(crate) mod forget;
pub(crate) mod lane;
pub(crate) mod leave;
pub(crate) mod length;
pub(crate) mod parcel;
pub(crate) mod place;
pub(crate) mod promote;
pub(crate) mod release;
pub(crate) mod routes;
pub(crate) mod sql;
pub(crate) mod temporary;
pub(crate) mod unique;
