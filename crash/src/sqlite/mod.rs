//! Processes on one file: producers and consumers that are killed and stopped at random moments,
//! and a driver that counts afterwards what they did.
//!
//! 1. `command`: how it is called; the same program is the driver and, by a hidden subcommand,
//!    each process
//! 2. `round`: one round from a new file to the count
//! 3. `plan`: what is done to whom and when, drawn from the seed; `processes`: doing it
//! 4. `message`: what is sent; `producer`, `consumer` with `elsewhere`: the processes; they write
//!    down what they know to be accepted in [`crate::journal`]
//! 5. `poison`: another kind of round, with one message that kills;
//!    `schedules`: and another, [`crate::schedules`] on a file
//! 6. `soak`: a round of an hour
//! 7. `evidence`: what is found afterwards; `judge`: what must hold of it

mod command;
mod consumer;
mod elsewhere;
mod evidence;
mod judge;
mod message;
mod plan;
mod poison;
mod processes;
mod producer;
mod round;
mod schedules;
mod soak;

pub(crate) use command::{Arguments, run};
