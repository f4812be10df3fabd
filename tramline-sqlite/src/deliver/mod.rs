//! Messages are taken, handed out and settled.

pub(crate) mod claim;
mod completed;
pub(crate) mod delivery;
mod ending;
mod expire;
pub(crate) mod held;
pub(crate) mod receiver;
pub(crate) mod returned;
pub(crate) mod settle;
