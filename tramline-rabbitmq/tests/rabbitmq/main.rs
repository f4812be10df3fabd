//! What RabbitMQ promises beyond the contracts, on a real broker.

mod alarm;
mod answering;
mod censor;
mod channels;
mod coming_back;
mod connecting;
mod copies;
mod cutter;
mod declaring;
mod delaying;
mod foreign;
mod heeding;
mod kit;
mod messages;
mod operating;
mod ordering;
mod permissions;
mod pika;
mod proxy;
mod receiving;
mod registry;
mod sending;
mod silence;
#[cfg(target_os = "linux")]
mod sockets;
mod tls;
mod topologies;
mod trials;
