//! Brings the write-ahead log back into the file, beside the commits.

use crate::open::connection;
use rusqlite::Connection;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Starts the thread. Each message is one checkpoint; it ends with the sender.
pub(crate) fn spawn(path: &Path) -> io::Result<SyncSender<()>> {
    let (sender, asked) = sync_channel(1);
    let path = path.to_owned();
    let thread = thread::Builder::new().name("tramline-checkpoint".to_owned());
    thread.spawn(move || run(&path, &asked))?;
    Ok(sender)
}

fn run(path: &Path, asked: &Receiver<()>) {
    let mut connection = None;
    while asked.recv().is_ok() {
        let mut checkpoint = || -> rusqlite::Result<()> {
            let open = match connection.take() {
                Some(connection) => connection,
                None => connection::checkpointer(path)?,
            };
            let open: &Connection = connection.insert(open);
            open.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
            Ok(())
        };
        if let Err(error) = checkpoint() {
            tracing::warn!(%error, file = %path.display(), "failed to checkpoint");
        }
    }
}
