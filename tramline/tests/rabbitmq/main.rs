//! The engine on a real RabbitMQ, and what it makes of others there.

mod broker_dead_letters;
#[path = "../engine/kit/counters.rs"]
mod counters;
mod exchanges;
mod foreigners;
mod orders;
mod permissions;
mod protection;
mod requests;
