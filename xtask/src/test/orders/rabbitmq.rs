//! The order service on a RabbitMQ of its own, which dies with it or before.

use super::report::Disturbance;
use super::run::{KILLS_MIN, built_and_run};
use crate::test::outcome::Outcome;
use crate::test::servers::{self, Started};
use crate::workspace::Workspace;

/// How often the chaos kills the broker.
const BROKER_KILLS: u64 = 5;

pub(crate) fn plain(workspace: &Workspace) -> Outcome {
    on_server(|server| built_and_run(workspace, &["--broker", &server.url()], Disturbance::None))
}

pub(crate) fn chaos(workspace: &Workspace) -> Outcome {
    on_server(|server| {
        let (url, name) = (server.url(), server.name());
        let options = ["--broker", &url, "--chaos", "--chaos-broker", &name];
        let disturbance = Disturbance::Kills { all: KILLS_MIN, brokers: BROKER_KILLS };
        built_and_run(workspace, &options, disturbance)
    })
}

fn on_server(run: impl FnOnce(&Started) -> Outcome) -> Outcome {
    match servers::start("rabbitmq", "orders") {
        Ok(server) => run(&server),
        Err(error) => servers::outcome(error),
    }
}
