//! The life of a worker process.

use super::words::{DRAIN, READY};
use crate::bus::{self, Role};
use crate::clock::SharedClock;
use crate::database::Database;
use crate::terminal;
use crate::trouble::Trouble;
use std::io::BufRead;
use std::thread;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tramline::Bus;

/// How long handlers may take to finish when the worker is to end.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// The pause before a server that is away is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs the endpoints until the parent says to drain, or SIGTERM does, or the bus stops by itself.
pub(crate) async fn work(broker: &str, database: &str, clock: SharedClock) -> Result<(), Trouble> {
    let mut drain = listen_to_parent().map_err(Trouble::broken)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Trouble::broken)?;
    // A terminal sends ctrl-c to the whole family: the parent decides what becomes of it.
    let _ignored = signal(SignalKind::interrupt()).map_err(Trouble::broken)?;
    let bus = tokio::select! {
        bus = until_started(broker, database, &clock) => bus?,
        // There is nothing yet that could be finished.
        _ = &mut drain => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    terminal::say(READY);
    tokio::select! {
        _ = drain => {}
        _ = terminate.recv() => {}
        // Why it stops by itself, the drain says.
        _ = bus.until_stopping() => {}
    }
    let _drained = bus.drain(DRAIN_LIMIT).await.map_err(Trouble::of)?;
    Ok(())
}

/// Waits for a server that is away, as one is that starts again: for how long, the parent decides.
async fn until_started(broker: &str, database: &str, clock: &SharedClock) -> Result<Bus, Trouble> {
    loop {
        match start(broker, database, clock).await {
            Err(Trouble::Away(why)) => {
                tracing::warn!(why, "cannot start yet: trying again in {} s", PAUSE.as_secs());
                tokio::time::sleep(PAUSE).await;
            }
            ended => return ended,
        }
    }
}

async fn start(broker: &str, database: &str, clock: &SharedClock) -> Result<Bus, Trouble> {
    let database = Database::open(database).await.map_err(Trouble::of)?;
    let bus = bus::connect(broker, &database, clock.clone(), Role::Handler).await;
    bus.map_err(Trouble::of)?.start().await.map_err(Trouble::of)
}

/// Ends the process at once when the parent is gone: somebody may start another one any moment, and
/// what was at work here is safe in the queues. The answer comes when the parent says to drain.
fn listen_to_parent() -> std::io::Result<oneshot::Receiver<()>> {
    let (tell, drain) = oneshot::channel();
    let mut tell = Some(tell);
    let listen = move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if line == DRAIN {
                // Said twice, or to a worker that ends already, it changes nothing.
                let _ = tell.take().map(|tell| tell.send(()));
            }
        }
        std::process::exit(0);
    };
    thread::Builder::new().name("parent".to_owned()).spawn(listen)?;
    Ok(drain)
}
