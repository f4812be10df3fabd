//! The order service on a RabbitMQ of its own, which dies with it or before: never on one that the
//! user has named, because queues of the same names may be there, and nobody else's broker is killed.

use super::report::Disturbance;
use super::run::{KILLS_MIN, built_and_run};
use super::server;
use crate::test::outcome::Outcome;
use crate::test::servers::Started;
use crate::workspace::Workspace;

/// How often the chaos kills the broker.
const BROKER_KILLS: u64 = 5;

pub(crate) fn plain(workspace: &Workspace) -> Outcome {
    on_server(|server| built_and_run(workspace, &["--broker", &server.url()], Disturbance::None))
}

pub(crate) fn chaos(workspace: &Workspace) -> Outcome {
    on_server(|server| {
        let disturbance = Disturbance::Kills { all: KILLS_MIN, brokers: 0 };
        built_and_run(workspace, &["--broker", &server.url(), "--chaos"], disturbance)
    })
}

pub(crate) fn broker(workspace: &Workspace) -> Outcome {
    on_server(|server| {
        let (url, name) = (server.url(), server.name());
        let options = ["--broker", &url, "--chaos", "--chaos-broker", &name];
        let disturbance = Disturbance::Kills { all: KILLS_MIN, brokers: BROKER_KILLS };
        built_and_run(workspace, &options, disturbance)
    })
}

pub(super) fn on_server(run: impl FnOnce(&Started) -> Outcome) -> Outcome {
    server::started("rabbitmq", run)
}
