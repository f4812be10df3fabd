//! How the engine behaves, on memory and with a clock wound by hand.

mod kit;

mod away;
mod background;
mod batches;
mod breaking;
mod breaking_in_order;
mod by_bus;
mod dead_letters;
mod elsewhere;
mod events;
mod exchanges;
mod expiring;
mod handlers;
mod health;
mod hosting;
mod ids;
mod lanes;
mod layers;
mod limiting;
mod measuring;
mod outdated;
mod publishing;
mod receiving;
mod relaying;
mod requests;
mod retrying;
mod starting;
mod stopping;
mod storm;
mod suspects;
mod transactions;
mod unhandled;
mod versions;
