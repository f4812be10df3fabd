//! Hears when others have committed something.

use crate::link::{Connected, Line};
use crate::open::Core;
use parking_lot::Mutex;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_postgres::AsyncMessage;

/// How long a notification of our own may take to come back, before LISTEN counts as out of order: a
/// proxy that pools transactions swallows it.
const ECHO_MAX: Duration = Duration::from_secs(2);
/// After how long it is tried again then.
const AGAIN: Duration = Duration::from_secs(60);

/// Listens until the core is gone. Whoever rests meanwhile relies on it as far as
/// [`Core::is_heard`](crate::open::Core) says.
pub(crate) async fn listen(core: Weak<Core>) {
    let echo = Arc::new(watch::Sender::new(0_u64));
    let Some(line) =
        core.upgrade().filter(|core| !core.is_pooled).map(|core| line(&core, echo.clone()))
    else {
        // What is said in a session that is another's in a moment, nobody hears.
        return;
    };
    let said = Mutex::new(0_u64);
    while let Some(strong) = core.upgrade() {
        let Ok(connected) = line.connected().await else {
            drop(strong);
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        let number = {
            let mut said = said.lock();
            *said += 1;
            *said
        };
        let said = async {
            connected.run("LISTEN tramline").await.ok()?;
            let operating = strong.operating.connected().await.ok()?;
            let word = format!("?{} {number}", strong.process);
            operating.query("SELECT pg_notify('tramline', $1)", &[&word]).await.ok()
        };
        let is_said = matches!(timeout(ECHO_MAX, said).await, Ok(Some(_)));
        let mut echo = echo.subscribe();
        let echoed = timeout(ECHO_MAX, echo.wait_for(|heard| *heard == number));
        let is_heard = is_said && matches!(echoed.await, Ok(Ok(_)));
        let is_swallowed = is_said && !is_heard && !connected.is_closed();
        if is_heard {
            announce(&strong, &connected).await;
        } else if is_swallowed {
            tracing::warn!(
                target = %strong.target,
                "notifications do not arrive, as through a proxy that pools transactions: looking \
                 into queues 10 to 100 times a second instead"
            );
        }
        // What was committed while nobody listened was missed, and a server that crashed has
        // forgotten who sleeps.
        strong.sleepers.forget();
        strong.set_heard(is_heard);
        strong.hub.wake_all();
        let announced = strong.announced.clone();
        drop(strong);
        let until = async {
            if is_heard {
                tokio::select! {
                    () = connected.ended() => {}
                    () = announced.cut() => line.hang_up(),
                }
            } else {
                // A server that is in trouble meanwhile has proved nothing.
                tokio::time::sleep(if is_swallowed { AGAIN } else { ECHO_MAX }).await;
            }
        };
        let gone = async {
            while core.strong_count() > 0 {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = until => {}
            () = gone => return,
        }
        if let Some(strong) = core.upgrade() {
            strong.announced.lost(Instant::now());
            strong.set_heard(false);
            strong.hub.wake_all();
        }
    }
}

/// Shows others by a lock that this process lives: the server frees it when this session ends. Never behind a
/// proxy that pools transactions, where it would be a lock of nobody.
async fn announce(core: &Core, connected: &Connected) {
    const LOCK: &str = "SELECT pg_backend_pid(), pg_advisory_lock(-1953260910, pg_backend_pid())";
    match connected.query_one(LOCK, &[]).await {
        Ok(row) => core.announced.shows(row.get(0), Instant::now()),
        // The lease alone counts then, until the next connection.
        Err(error) => tracing::debug!(%error, "nothing shows others that this process lives"),
    }
}

fn line(core: &Arc<Core>, echo: Arc<watch::Sender<u64>>) -> Line {
    let (weak, process) = (Arc::downgrade(core), core.process);
    let hear = move |message: AsyncMessage| {
        let AsyncMessage::Notification(notification) = message else { return };
        let Some(core) = weak.upgrade() else { return };
        let word = notification.payload();
        if let Some(word) = word.strip_prefix('?') {
            if let Some((of, number)) = word.split_once(' ')
                && of.parse() == Ok(process)
            {
                echo.send_replace(number.parse().unwrap_or_default());
            }
            return;
        }
        word.split(',')
            .filter_map(|queue| queue.parse().ok())
            .for_each(|queue| core.hub.wake(queue));
        // Others may take it, and die.
        core.announced.beat.soon();
    };
    Line::new(core.target.clone(), "listen", &core.settings).heard_by(Arc::new(hear))
}
