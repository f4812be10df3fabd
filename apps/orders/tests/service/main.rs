//! The order service as its users meet it: the program, its HTTP API, its report.

mod away;
mod bad_input;
mod crash;
mod exchange;
mod orders;
mod outdated;
mod postgres;
mod processes;
mod program;
mod refused;
mod reports;
