//! Several processes at one database: what each holds, and how they wake each other.

mod announced;
mod beat;
mod eager;
mod keeper;
mod leases;
mod listener;
mod sleepers;
mod vacuum;
mod waker;

pub(crate) use announced::Announced;
pub(crate) use eager::Eager;
pub(crate) use keeper::keep;
pub(crate) use leases::Leases;
pub(crate) use listener::listen;
pub(crate) use sleepers::Sleepers;
pub(crate) use waker::Waker;
