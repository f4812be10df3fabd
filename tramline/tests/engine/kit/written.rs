//! What is logged, to be read.

use parking_lot::Mutex;
use std::sync::Arc;
use tracing::subscriber::DefaultGuard;

/// What this thread logs.
#[derive(Clone, Default)]
pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    /// Begins to write down, until the guard is dropped. In a process of its own: who is
    /// interested is known per process, and other tests are not.
    pub(crate) fn begin(&self) -> DefaultGuard {
        let written = self.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || written.clone());
        tracing::subscriber::set_default(subscriber.with_ansi(false).finish())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }
}

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
