//! A newer program takes the file over while this one runs.

use crate::program::Folder;
use std::path::Path;
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
        let output = service.ended();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        let error =
            text.lines().find(|line| line.starts_with("error: ") && line.contains("orders.db"));
        let error = error.unwrap_or_else(|| panic!("{text}"));
        for part in ["version 999", "up to 1", "a newer program has written them"] {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
        crate::processes::gone(&children);
    }
}
