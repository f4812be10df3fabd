//! How the tools for tests behave.

mod messages;
mod simulation;
mod test_bus;
