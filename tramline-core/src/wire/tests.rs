//! What is written, what is read back, and what is made of the headers of others.

mod bounds;
mod broken;
mod bytes;
mod foreign;
mod names_as_written;
mod round_trip;
mod samples;
