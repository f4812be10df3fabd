//! A newer program takes the file over while this one runs.

use crate::exchange::get;
use crate::processes::until;
use crate::program::{Folder, Program};
use std::path::Path;
use std::process::Stdio;
use tramline::sqlite::rusqlite::Connection;

/// Does what a newer program's migration does, whatever else that is.
fn migrate(file: &Path) {
    let connection = Connection::open(file).unwrap();
    connection.busy_timeout(crate::program::LIMIT).unwrap();
    let migration = "BEGIN IMMEDIATE;
         UPDATE tramline_schema SET version = 999;
         UPDATE tramline_counter SET value = value + 1 WHERE name = 'topology';
         COMMIT;";
    connection.execute_batch(migration).unwrap();
}

#[test]
fn an_older_service_ends_with_all_its_processes_and_says_why() {
    for (arguments, workers) in
        [(&["--limit", "0"][..], 2), (&["--limit", "0", "--broker", "memory:"], 0)]
    {
        let folder = Folder::new();
        let mut service = folder.start(arguments);
        service.line("try it");
        let children = service.workers();
        assert_eq!(children.len(), workers);
        migrate(&folder.path("data/orders.db"));
        ends_and_says_why(service, &children);
    }
}

#[test]
fn one_that_is_still_placing_orders_ends_too_and_invites_nobody() {
    for (arguments, workers) in [(["--workers", "1"], 1), (["--broker", "memory:"], 0)] {
        let folder = Folder::new();
        let mut service = folder.start(&arguments);
        let address = service.address();
        until("the first orders", || (get(address, "/orders/9").status == 200).then_some(()));
        let children = service.workers();
        assert_eq!(children.len(), workers);
        migrate(&folder.path("data/orders.db"));
        let said = ends_and_says_why(service, &children);
        assert!(said.contains("accepted"), "there is a report all the same: {said}");
        assert!(!said.contains("try it"), "{said}");
    }
}

#[test]
fn of_workers_only_an_outdated_one_says_that_no_other_start_helps() {
    let folder = Folder::new();
    folder.run(&["--limit", "0"]);
    migrate(&folder.path("data/orders.db"));
    for (file, code) in [("missing/orders.db", 1), ("data/orders.db", 2)] {
        let url = format!("sqlite:{}", folder.path(file).display());
        let mut command = folder.command(&["--worker", "--broker", &url, "--database", &url]);
        let mut worker = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // It lives only as long as somebody holds this.
        let _input = worker.stdin.take();
        let ended = until("the worker to end", || worker.try_wait().unwrap());
        assert_eq!(ended.code(), Some(code), "{file}");
    }
}

/// Answers what it said on its standard output.
fn ends_and_says_why(service: Program, children: &[u32]) -> String {
    let output = service.ended();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    let error = text.lines().find(|line| line.starts_with("error: ") && line.contains("orders.db"));
    let error = error.unwrap_or_else(|| panic!("{text}"));
    for part in ["version 999", "up to 1", "a newer program has written them"] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
    crate::processes::gone(children);
    String::from_utf8(output.stdout).unwrap()
}
