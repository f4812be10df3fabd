//! How the tools for tests behave.

mod messages;
mod protected;
mod simulation;
mod test_bus;
