//! Brings the write-ahead log back into the file, beside the commits.

use crate::open::connection;
use parking_lot::Mutex;
use rusqlite::Connection;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

/// Where checkpoints are asked for.
pub(crate) struct Checkpoints {
    asked: SyncSender<Asked>,
    /// Two checkpoints at once would only get into each other's way.
    turn: Arc<Mutex<()>>,
}

/// A checkpoint that was asked for. Whoever asked sees the drop of it.
type Asked = Sender<()>;

impl Checkpoints {
    /// Starts the thread. It ends with what this answers.
    pub(crate) fn spawn(path: &Path) -> io::Result<Self> {
        let (sender, asked) = sync_channel(1);
        let turn = Arc::<Mutex<()>>::default();
        let (path, its_turn) = (path.to_owned(), turn.clone());
        let thread = thread::Builder::new().name("tramline-checkpoint".to_owned());
        thread.spawn(move || run(&path, &asked, &its_turn))?;
        Ok(Self { asked: sender, turn })
    }

    /// Asks for one, beside the commits. Does not wait.
    pub(crate) fn ask(&self) {
        drop(self.begin());
    }

    /// Asks for one and waits until it has ended, for at most `patience`.
    pub(crate) fn ask_and_wait(&self, patience: Duration) {
        // Nothing is sent: this ends with the drop.
        let _ = self.begin().recv_timeout(patience);
    }

    /// Whether none is at work.
    pub(crate) fn are_idle(&self) -> bool {
        !self.turn.is_locked()
    }

    fn begin(&self) -> Receiver<()> {
        let (asked, ends) = channel();
        // One that is asked for already is as good.
        let _ = self.asked.try_send(asked);
        ends
    }

    /// Runs `checkpoint` while the thread runs none. Waits for that, for at most `patience`.
    pub(crate) fn instead<T>(
        &self,
        patience: Duration,
        checkpoint: impl FnOnce() -> T,
    ) -> Option<T> {
        let turn = self.turn.try_lock_for(patience)?;
        let answer = checkpoint();
        drop(turn);
        Some(answer)
    }
}

fn run(path: &Path, asked: &Receiver<Asked>, turn: &Mutex<()>) {
    let mut connection = None;
    while let Ok(_asked) = asked.recv() {
        let mut checkpoint = || -> rusqlite::Result<()> {
            let open = match connection.take() {
                Some(connection) => connection,
                None => connection::checkpointer(path)?,
            };
            let open: &Connection = connection.insert(open);
            open.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
            Ok(())
        };
        let turn = turn.lock();
        let done = checkpoint();
        drop(turn);
        if let Err(error) = done {
            tracing::warn!(%error, file = %path.display(), "failed to checkpoint");
        }
    }
}
