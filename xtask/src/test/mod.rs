//! `cargo xtask test`: the one test command, for people and for CI.

mod cargo_test;
mod command;
mod examples;
mod orders;
mod outcome;
mod servers;
mod steps;
mod style;
mod summary;
mod timed_run;

pub(crate) use command::{Arguments, run};
