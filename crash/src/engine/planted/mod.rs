//! Bugs that peers ship, planted, to show that they are found; and that nothing is found without.

mod bug;
mod operate;
mod store;
mod tests;
mod transport;
