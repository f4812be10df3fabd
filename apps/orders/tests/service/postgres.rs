//! The tables in PostgreSQL, with each broker: the figures are those of SQLite.

use crate::program::Folder;
use serde_json::Value;
use tramline_services::testing::Database;

const FIGURES: [&str; 9] = [
    "accepted",
    "charged",
    "revenue",
    "units",
    "emails",
    "analytics_revenue",
    "vip",
    "dead_lettered",
    "retried",
];

fn figures(report: &Value) -> Vec<&Value> {
    FIGURES.iter().map(|name| &report[*name]).collect()
}

#[test]
fn orders_come_to_the_same_in_postgresql_whatever_the_broker() {
    const LIMIT: [&str; 2] = ["--limit", "1000"];
    if Database::fresh().is_none() {
        return;
    }
    let expected = Folder::new().run(&LIMIT);
    for broker in ["the database", "another", "sqlite:", "memory:"] {
        let (folder, here) = (Folder::new(), Database::fresh().expect("there was one"));
        let another = Database::fresh().expect("there was one");
        let broker = match broker {
            "the database" => here.url.to_string(),
            "another" => another.url.to_string(),
            "sqlite:" => format!("sqlite:{}", folder.path("bus.db").display()),
            other => other.to_owned(),
        };
        let report = folder
            .run(&[&LIMIT[..], &["--database", here.url.as_str(), "--broker", &broker]].concat());
        assert_eq!(figures(&report), figures(&expected), "by {broker}");
    }
}

#[test]
fn orders_of_one_broker_are_not_handed_to_another() {
    let Some(database) = Database::fresh() else { return };
    let folder = Folder::new();
    let arguments = ["--limit", "20", "--database", database.url.as_str()];
    folder.run(&arguments);
    let output = folder.command(&arguments).args(["--broker", "memory:"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("go through the database itself"), "{text}");
}
