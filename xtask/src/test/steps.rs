//! The steps of `cargo xtask test`, in their order.

use super::outcome::Outcome;
use super::{cargo_test, examples, orders, style};
use crate::workspace::Workspace;

pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Whether it looks for servers that tests have in common.
    pub(crate) finds_servers: bool,
    pub(crate) run: fn(&Workspace) -> Outcome,
}

pub(crate) const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        about: "the code is formatted",
        finds_servers: false,
        run: style::formatted,
    },
    Step {
        name: "clippy",
        about: "clippy finds nothing to warn of",
        finds_servers: false,
        run: style::linted,
    },
    Step {
        name: "docs",
        about: "the documentation builds without a warning",
        finds_servers: false,
        run: style::documented,
    },
    Step {
        name: "test",
        about: "unit tests, conformance, documentation tests and tidy",
        finds_servers: true,
        run: cargo_test::run,
    },
    Step {
        name: "test-sqlx",
        about: "messages in the user's own transactions of sqlx",
        finds_servers: false,
        run: cargo_test::run_sqlx,
    },
    Step {
        name: "test-fuzz",
        about: "what the seeds of the fuzz targets once showed stays mended",
        finds_servers: false,
        run: cargo_test::run_fuzz,
    },
    Step {
        name: "examples",
        about: "every example of `tramline` runs",
        finds_servers: true,
        run: examples::run,
    },
    Step {
        name: "orders",
        about: "the order service reconciles",
        finds_servers: false,
        run: orders::plain,
    },
    Step {
        name: "orders-chaos",
        about: "… while its workers are killed",
        finds_servers: false,
        run: orders::chaos,
    },
    Step {
        name: "orders-memory",
        about: "… on the in-memory transport",
        finds_servers: false,
        run: orders::memory,
    },
    Step {
        name: "orders-parent",
        about: "… after its parent was killed in the middle and started again",
        finds_servers: false,
        run: orders::parent_killed,
    },
    Step {
        name: "orders-rabbitmq",
        about: "… on RabbitMQ",
        finds_servers: false,
        run: orders::rabbitmq,
    },
    Step {
        name: "orders-rabbitmq-chaos",
        about: "… while its workers are killed",
        finds_servers: false,
        run: orders::rabbitmq_chaos,
    },
    Step {
        name: "orders-rabbitmq-broker",
        about: "… while the broker is killed, too",
        finds_servers: false,
        run: orders::rabbitmq_broker,
    },
    Step {
        name: "orders-postgres",
        about: "… on PostgreSQL, tables and queues in one database, while workers and the server are killed",
        finds_servers: false,
        run: orders::postgres_server,
    },
    Step {
        name: "orders-postgres-rabbitmq",
        about: "… tables on PostgreSQL and queues on RabbitMQ, while workers and PostgreSQL are killed",
        finds_servers: false,
        run: orders::postgres_beside_rabbitmq,
    },
];

/// The steps named by `--only`, in the table's order; all of them when none is named.
pub(crate) fn chosen<'a>(only: &[String], steps: &'a [Step]) -> Result<Vec<&'a Step>, String> {
    let is_known = |name: &&String| steps.iter().any(|step| step.name == name.as_str());
    let unknown: Vec<&str> =
        only.iter().filter(|name| !is_known(name)).map(String::as_str).collect();
    if !unknown.is_empty() {
        let known: Vec<&str> = steps.iter().map(|step| step.name).collect();
        return Err(format!(
            "--only: no step is named {}; known are: {}",
            unknown.join(", "),
            known.join(", ")
        ));
    }
    let is_chosen = |step: &&Step| only.is_empty() || only.iter().any(|name| name == step.name);
    Ok(steps.iter().filter(is_chosen).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(only: &[&str]) -> Result<Vec<&'static str>, String> {
        let only: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
        Ok(chosen(&only, STEPS)?.iter().map(|step| step.name).collect())
    }

    #[test]
    fn all_steps_run_when_none_is_named() {
        assert_eq!(names(&[]).unwrap().len(), STEPS.len());
    }

    #[test]
    fn named_steps_run_in_the_order_of_the_table() {
        assert_eq!(names(&["orders", "fmt"]).unwrap(), ["fmt", "orders"]);
    }

    #[test]
    fn an_unknown_step_is_refused_with_the_known_ones() {
        let message = names(&["fmt", "lint"]).unwrap_err();
        assert!(message.contains("no step is named lint; known are: fmt, clippy"), "{message}");
    }
}
