//! What is checked of any input: a module for each fuzz target. Those in `targets` hand them what
//! libFuzzer comes up with; tests hand them the seeds.

pub mod envelope;
pub mod filters;
mod lines;
pub mod names;
pub mod rabbitmq_urls;
#[cfg(test)]
mod seeds;
pub mod urls;
pub mod wire;
