//! What the conformance suite cannot ask, because only memory has a clock to wind, wake-ups to
//! count and closures to panic in.

mod crashing;
mod declaring;
mod inbox;
mod kit;
mod leases;
mod operating;
mod outbox;
mod priorities;
mod restricted;
mod store;
mod time;
mod waking;
mod watching;
