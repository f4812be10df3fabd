//! What is asked of every transport, by topic.

pub mod harness;

pub mod dead_letters;
pub mod declaring;
pub mod dedup;
pub mod delay;
pub mod delivery;
pub mod fan_out;
pub mod filters;
pub mod flow;
pub mod health;
pub mod keeping;
pub mod leases;
pub mod length;
pub mod operating;
pub mod ordering;
pub mod redrive;
pub mod retry;
pub mod sending;
pub mod settling;
pub mod stress;
pub mod unique;
