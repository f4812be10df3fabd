//! What was deleted is cleared away before the tables grow: autovacuum looks once a minute, and by then a queue
//! may have seen millions of messages.

use crate::error::failed;
use crate::link::Line;
use crate::open::Core;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use tramline_core::Result;

/// So many dead rows are left to autovacuum.
const DEAD_MAX: i64 = 100_000;

/// The two tables through which everything goes.
#[derive(Default)]
pub(super) struct Vacuum {
    messages: Arc<Swept>,
    outbox: Arc<Swept>,
}

/// One table.
#[derive(Default)]
struct Swept {
    is_under_way: AtomicBool,
    /// Dead rows that were still there after the last time: somebody's snapshot may need them, or a role without
    /// the right was the one who tried. To try again is worth it when there are far more.
    left: AtomicI64,
}

impl Vacuum {
    /// So many rows of each are dead: begins to clear them away, beside everything else.
    pub(super) fn sees(&self, core: &Arc<Core>, messages: i64, outbox: i64) {
        let tables = [
            (&self.messages, messages, "tramline.message"),
            (&self.outbox, outbox, "tramline.outbox"),
        ];
        for (swept, dead, table) in tables {
            let left = swept.left.fetch_min(dead, Ordering::Relaxed).min(dead);
            if dead > DEAD_MAX + 2 * left && !swept.is_under_way.swap(true, Ordering::AcqRel) {
                let line = Line::new(core.target.clone(), "vacuum", &core.settings);
                tokio::spawn(swept.clone().sweep(line, dead, table));
            }
        }
    }
}

impl Swept {
    async fn sweep(self: Arc<Self>, line: Line, dead: i64, table: &'static str) {
        let left = vacuum(&line, table).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "left to autovacuum");
            dead
        });
        self.left.store(left, Ordering::Relaxed);
        self.is_under_way.store(false, Ordering::Release);
    }
}

/// On a connection of its own, which keeps nobody waiting. Answers how many dead rows are left.
async fn vacuum(line: &Line, table: &str) -> Result<i64> {
    let connected = line.try_connected().await?;
    let ran = async {
        // A table that is shortened at its end is locked for that.
        connected.run(&format!("VACUUM (SKIP_LOCKED, TRUNCATE false) {table}")).await?;
        connected.ask(&format!("SELECT pg_stat_get_dead_tuples('{table}'::regclass)")).await
    };
    let left = ran.await.map_err(|error| failed(format!("vacuum {table}"), &error))?;
    Ok(left.and_then(|left| left.parse().ok()).unwrap_or_default())
}
