//! What a test does without the server it needs.

use crate::{Error, Result};
use std::io::Write;

/// Where tests learn what they must not pass over: `all`, or kinds of servers with commas.
const REQUIRE: &str = "TRAMLINE_REQUIRE";

/// What was asked for, or `None` if this machine cannot offer it: then the test has nothing to show,
/// says so and returns.
///
/// ```no_run
/// # fn test() {
/// let Some(url) = tramline_services::or_skip(tramline_services::rabbitmq::shared_url()) else {
///     return;
/// };
/// # }
/// ```
///
/// # Panics
/// If the server is there but does not work, and if `cargo xtask test --require` forbids the skip.
pub fn or_skip<T>(asked: Result<T>) -> Option<T> {
    let required = std::env::var(REQUIRE).unwrap_or_default();
    match asked {
        Ok(there) => Some(there),
        Err(Error::Failed(what)) => panic!("{what}"),
        Err(Error::Absent { kind, why }) => {
            let forbidden = forbids(&required, kind);
            assert!(!forbidden, "not shown here: {why}; and {REQUIRE} forbids to pass it over");
            // Not `eprintln`, which a passing test would keep to itself.
            let _ = writeln!(std::io::stderr(), "not shown here: {why}");
            None
        }
    }
}

fn forbids(required: &str, kind: &str) -> bool {
    required.split(',').any(|name| name == "all" || name == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skip_is_forbidden_by_all_and_by_the_name_of_the_server() {
        assert!(forbids("all", "rabbitmq"));
        assert!(forbids("kafka,rabbitmq", "rabbitmq"));
        assert!(!forbids("", "rabbitmq"));
        assert!(!forbids("rabbitmq-cluster", "rabbitmq"));
    }

    #[test]
    #[should_panic(expected = "port 5672 is taken")]
    fn a_server_that_does_not_work_is_never_passed_over() {
        or_skip::<()>(Err(Error::failed("port 5672 is taken")));
    }
}
