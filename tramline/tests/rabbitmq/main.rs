//! The engine on a real RabbitMQ, and what it makes of others there.

mod broker_dead_letters;
#[path = "../engine/kit/counters.rs"]
mod counters;
mod exchanges;
mod foreigners;
#[path = "../../../tramline-rabbitmq/tests/rabbitmq/kit.rs"]
mod kit;
mod orders;
mod permissions;
#[path = "../../../tramline-rabbitmq/tests/rabbitmq/python.rs"]
mod python;
