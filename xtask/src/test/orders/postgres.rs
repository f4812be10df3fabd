//! The order service with its tables in PostgreSQL, on servers of its own.

use super::rabbitmq;
use super::report::Disturbance;
use super::run::{KILLS_MIN, built_and_run};
use super::server;
use crate::test::outcome::Outcome;
use crate::test::servers::Started;
use crate::workspace::Workspace;

/// How often the chaos kills the server.
const SERVER_KILLS: u64 = 5;

/// Tables and queues in one database, while workers and the server are killed.
pub(crate) fn server(workspace: &Workspace) -> Outcome {
    on_server(|server| {
        let (url, name) = (server.url(), server.name());
        let options = ["--database", &url, "--chaos", "--chaos-broker", &name];
        let disturbance = Disturbance::Kills { all: KILLS_MIN, brokers: SERVER_KILLS };
        built_and_run(workspace, &options, disturbance)
    })
}

/// Tables here and queues on RabbitMQ, while workers and the server of the tables are killed.
pub(crate) fn beside_rabbitmq(workspace: &Workspace) -> Outcome {
    on_server(|server| {
        rabbitmq::on_server(|broker| {
            let (url, name, broker) = (server.url(), server.name(), broker.url());
            let options = ["--database", &url, "--broker", &broker];
            let chaos = ["--chaos", "--chaos-broker", &name];
            let disturbance = Disturbance::Kills { all: KILLS_MIN, brokers: SERVER_KILLS };
            built_and_run(workspace, &[&options[..], &chaos].concat(), disturbance)
        })
    })
}

fn on_server(run: impl FnOnce(&Started) -> Outcome) -> Outcome {
    server::started("postgres", run)
}
