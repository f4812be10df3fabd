//! Runs come out right, undisturbed and disturbed.

use crate::processes::{signal, until};
use crate::program::Folder;
use serde_json::{Value, json};

/// The first 3,000 of the shipped orders, as a spreadsheet has them: an answer that does not come
/// from this program.
fn assert_3000(report: &Value) {
    let figures = [
        ("accepted", json!(3000)),
        ("charged", json!(2998)),
        ("revenue", json!("109770.13")),
        ("units", json!(7295)),
        ("emails", json!(2998)),
        ("analytics_revenue", json!("109770.13")),
        ("vip", json!(0)),
        ("dead_lettered", json!(2)),
        ("retried", json!(60)),
    ];
    for (name, figure) in figures {
        assert_eq!(report[name], figure, "{name}: {report}");
    }
}

#[test]
fn a_run_reconciles_and_going_on_changes_nothing() {
    let folder = Folder::new();
    let first = folder.run(&["--limit", "500"]);
    assert_eq!((&first["accepted"], &first["kills"]), (&json!(500), &json!(0)));
    assert!(first["p50_ms"].as_f64().unwrap() > 0.0, "{first}");
    let again = folder.run(&["--limit", "500"]);
    for figure in ["accepted", "charged", "revenue", "units", "emails", "retried"] {
        assert_eq!(first[figure], again[figure], "{figure}");
    }
    assert_3000(&folder.run(&["--limit", "3000"]));
}

#[test]
fn killed_workers_lose_nothing_and_double_nothing() {
    let report = Folder::new().run(&["--limit", "3000", "--chaos", "--seed", "7"]);
    assert_3000(&report);
    assert!(report["kills"].as_u64().unwrap() >= 10, "{report}");
}

#[test]
fn a_worker_that_somebody_else_kills_is_replaced() {
    let folder = Folder::new();
    let report = folder.path("report.json");
    let report = report.to_str().unwrap();
    let mut service = folder.start(&["--limit", "3000", "--exit", "--report", report]);
    service.address();
    let workers = service.workers();
    assert_eq!(workers.len(), 2);
    signal("KILL", workers[0]);
    until("another worker", || {
        service.workers().iter().any(|worker| !workers.contains(worker)).then_some(())
    });
    let output = service.ended();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn a_bus_in_memory_and_one_in_another_file_reconcile_too() {
    assert_3000(&Folder::new().run(&["--limit", "3000", "--broker", "memory:"]));
    let folder = Folder::new();
    let broker = format!("sqlite:{}", folder.path("bus.db").display());
    assert_3000(&folder.run(&["--limit", "3000", "--broker", &broker, "--workers", "1"]));
}
