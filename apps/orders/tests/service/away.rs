//! A broker that is away when a worker starts: it starts again, or is still on its way.

use crate::program::Folder;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Stdio;

#[test]
fn a_worker_waits_for_a_broker_that_is_away_and_can_be_told_to_end_meanwhile() {
    let folder = Folder::new();
    // Nobody listens on a port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let broker = format!("amqp://127.0.0.1:{port}");
    let database = format!("sqlite:{}", folder.path("worker.db").display());
    let mut command = folder.command(&["--worker", "--broker", &broker, "--database", &database]);
    let command = command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut worker = command.spawn().unwrap();
    let words = BufReader::new(worker.stderr.take().unwrap()).lines().map_while(Result::ok);
    let waits = words.filter(|line| line.contains("cannot start yet"));
    // More often than its parent would start it again.
    let tries: Vec<String> = waits.take(6).collect();
    assert_eq!(tries.len(), 6, "it has ended: {tries:?}");
    for said in tries {
        assert!(said.contains(&format!("failed to connect to {broker}")), "{said}");
    }
    worker.stdin.take().unwrap().write_all(b"drain\n").unwrap();
    assert_eq!(worker.wait().unwrap().code(), Some(0));
}
