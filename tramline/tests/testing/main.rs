//! How the tools for tests behave.

mod messages;
mod test_bus;
