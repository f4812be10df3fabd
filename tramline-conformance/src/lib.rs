//! One suite for every transport and one for every store: the same questions to each driver.
//!
//! A contract in words can be read in two ways; these scenarios read it in one. They ask about
//! both sides of every capability: what a driver declares must work, and what it does not declare
//! must be refused as unsupported. Nothing may be ignored.
//!
//! # Adding a transport
//!
//! 1. Implement [`tramline_core::transport`] in a crate on floor 1, and depend on this crate for
//!    tests only.
//! 2. In its `tests/conformance.rs`, say how to get a broker by implementing [`TransportHarness`].
//! 3. Write one line. Every scenario becomes a test, named after the behaviour that it asks for:
//!
//! ```text
//! tramline_conformance::transport_suite!(Harness);
//! ```
//!
//! A driver that is a store as well adds a [`StoreHarness`] and `store_suite!`. The expression
//! makes a new harness for each test, inside the test's runtime, and scenarios run in parallel:
//! what a harness calls fresh must not be shared with another.
//!
//! Nothing else is needed to run the tests, and a failure is read from its test's name and text:
//! it says what was expected, and what came instead.
//!
//! # Adding a scenario
//!
//! Write one `pub async fn` in the module of its topic and one line in the table in `suite.rs`. A
//! bug that is found in one driver is asked of all of them from then on.
//!
//! # What scenarios may rely on
//!
//! Drivers run on the machine's own clock, and so do the scenarios: pauses are a few hundred
//! milliseconds. Nobody sleeps to wait for an event: scenarios wait for the event itself, for at
//! most [`TransportHarness::patience`]. That something does *not* arrive is shown by what arrives
//! instead of it, wherever a queue keeps its order.

mod kit;
mod model;
mod suite;

#[doc(hidden)]
pub mod store;
#[doc(hidden)]
pub mod transport;

#[doc(hidden)]
pub use kit::run::run;
pub use model::{Walk, walk};
pub use store::harness::{Note, StoreHarness, Write};
pub use transport::harness::TransportHarness;
