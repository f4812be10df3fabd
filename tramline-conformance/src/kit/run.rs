//! How a scenario runs.

use std::time::Duration;

/// The longest that a scenario may take. Waits inside have tighter bounds; this one ends a driver
/// whose call never returns.
const SCENARIO_MAX: Duration = Duration::from_secs(180);

/// Runs a scenario on a runtime of its own. Two threads, because races are part of the question.
pub fn run(scenario: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a test can start threads");
    let ended = runtime.block_on(async { tokio::time::timeout(SCENARIO_MAX, scenario).await });
    assert!(ended.is_ok(), "the scenario did not end within {SCENARIO_MAX:?}: a call hangs");
}
