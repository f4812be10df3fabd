//! The order service: it places its orders, survives what is done to it, and must reconcile.

mod parent;
mod postgres;
mod rabbitmq;
mod report;
mod run;
mod server;

pub(crate) use parent::parent_killed;
pub(crate) use postgres::{beside_rabbitmq as postgres_beside_rabbitmq, server as postgres_server};
pub(crate) use rabbitmq::{broker as rabbitmq_broker, chaos as rabbitmq_chaos, plain as rabbitmq};
pub(crate) use run::{chaos, memory, plain};
