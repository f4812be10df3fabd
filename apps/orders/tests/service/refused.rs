//! What cannot work is refused before anything is done, with the reason and exit code 2.

use crate::program::Folder;
use std::fs;

#[test]
fn misuse_is_told_apart_and_explained() {
    let folder = Folder::new();
    fs::write(folder.path("bad.csv"), "order_id,user_id,date,units,total\n1,1,x,1,1.00\n").unwrap();
    fs::write(
        folder.path("text.db"),
        "This is no database, but long enough to be one.\n".repeat(99),
    )
    .unwrap();
    let file = |name: &str| folder.path(name).to_str().unwrap().to_owned();
    let url = |name: &str| format!("sqlite:{}", file(name));
    let cases: &[(&[&str], &str)] = &[
        (&["--orders", &file("bad.csv")], "bad.csv:2: `date` must be a day"),
        (&["--orders", &file("missing.csv")], "missing.csv"),
        (&["--broker", "memory:", "--chaos"], "--chaos needs worker processes"),
        (&["--broker", "memory:", "--workers", "1"], "--workers needs worker processes"),
        (&["--broker", "kafka://guest:secret@host"], "`amqps:` and `postgres:`"),
        (&["--broker", "amqp://guest:secret@host?heartbeats=1"], "no option \"heartbeats\""),
        (&["--database", "mysql://u:secret@host/orders"], "known: `sqlite:FILE` and `postgres:`"),
        (&["--database", "postgres://u:secret@:x/orders"], "read the URL of a PostgreSQL server"),
        (&["--database", "sqlite:"], "names no file"),
        (&["--database", &url("text.db")], "text.db"),
        (&["--broker", &url("missing/bus.db")], "missing"),
        (&["--broker", &url("data/orders.db?sync=never")], "sync is full or normal"),
        (&["--listen", "192.0.2.1:80"], "192.0.2.1:80"),
        (&["--limit", "many"], "--limit"),
        (&["--report", &file("missing/report.json")], "report.json"),
    ];
    for (arguments, part) in cases {
        let output = folder.command(arguments).arg("--exit").output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(part) && !text.contains("secret"), "{arguments:?}: {text}");
    }
}

#[test]
fn a_broker_that_cannot_be_reached_is_named_and_may_be_there_at_the_next_start() {
    let arguments = ["--broker", "amqp://guest:secret@127.0.0.1:1", "--exit"];
    let output = Folder::new().command(&arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("127.0.0.1:1") && !text.contains("secret"), "{text}");
}

#[test]
fn a_data_folder_that_cannot_be_made_is_refused() {
    let folder = Folder::new();
    fs::write(folder.path("data"), "a file").unwrap();
    let output = folder.command(&["--exit"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("failed to use the data directory"), "{text}");
}

#[test]
fn a_second_service_on_the_same_folder_is_refused() {
    let folder = Folder::new();
    let mut first = folder.start(&["--limit", "0"]);
    first.address();
    let output = folder.command(&["--limit", "0"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("another order service is at work"), "{text}");
}

#[test]
fn orders_of_one_broker_are_not_handed_to_another() {
    let folder = Folder::new();
    let run = |arguments: &[&str]| {
        let output = folder.command(arguments).args(["--exit", "--limit", "20"]).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = run(&[]);
    assert_eq!(code, Some(0), "{text}");
    let other = format!("sqlite:{}", folder.path("other.db").display());
    for broker in ["memory:", &other, "amqp://guest:secret@127.0.0.1:1"] {
        let (code, text) = run(&["--broker", broker]);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("go through the database itself"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
    let same = format!("sqlite:{}", folder.path("data/orders.db").display());
    let (code, text) = run(&["--broker", &same]);
    assert_eq!(code, Some(0), "{text}");
}
