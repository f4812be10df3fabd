//! A database that keeps the schedules, the queues and the effects.

use tramline::core::Result;
use tramline::core::store::Store;
use tramline::core::transport::Transport;
use tramline::{Failure, Tx};

/// What is different from database to database.
pub(crate) trait Ground: Transport + Store + Clone {
    /// What its processes are started with: the first word of their command line.
    const SUBJECT: &'static str;

    /// Opens the file or the database at `place`.
    fn open(place: &str) -> impl Future<Output = Result<Self>> + Send;

    /// Writes an effect in the transaction of a handler.
    fn note(
        tx: &mut Tx<Self>,
        endpoint: &str,
        number: u64,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// All effects.
    fn effects(&self) -> impl Future<Output = Result<Vec<(String, u64)>, Failure>> + Send;
}
