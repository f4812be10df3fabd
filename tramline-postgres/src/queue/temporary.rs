//! The temporary queues of a process.

use super::declare::Columns;
use crate::error::failed;
use crate::open::Core;
use parking_lot::Mutex;
use tramline_core::Result;
use tramline_core::name::QueueName;
use tramline_core::topology::{QueueSpec, Subscription, Topology};

/// Those that this process has declared: gone from the tables if others have taken it for dead.
#[derive(Default)]
pub(crate) struct Temporary(Mutex<Vec<Own>>);

#[derive(Clone)]
struct Own {
    id: i32,
    spec: QueueSpec,
    subscriptions: Vec<Subscription>,
}

impl Temporary {
    /// Remembers what was declared, under the ids that `core` knows now.
    pub(crate) fn declared(&self, topology: &Topology, core: &Core) {
        let routes = core.routes();
        let mut known = self.0.lock();
        for spec in topology.queues.iter().filter(|spec| spec.temporary) {
            let Some(queue) = routes.queue(spec.name.as_str()) else { continue };
            let subscriptions =
                topology.subscriptions.iter().filter(|asked| asked.queue == spec.name);
            let subscriptions = subscriptions.cloned().collect();
            known.retain(|other| other.spec.name != spec.name);
            known.push(Own { id: queue.id, spec: spec.clone(), subscriptions });
        }
    }

    pub(crate) fn forget(&self, names: &[QueueName]) {
        self.0.lock().retain(|queue| !names.contains(&queue.spec.name));
    }

    /// Makes those again that are gone.
    ///
    /// # Errors
    /// The server cannot be asked; the next time it is tried again.
    pub(crate) async fn restore(&self, core: &Core) -> Result<()> {
        const RESTORE: &str =
            "SELECT tramline.restore_queue($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
             $12, $13, $14, $15, $16, $17)";
        let known = self.0.lock().clone();
        for Own { id, spec, subscriptions } in known {
            let connected = core.operating.connected().await?;
            let columns = Columns::of(&spec)?;
            let topics: Vec<&str> =
                subscriptions.iter().map(|asked| asked.topic.as_str()).collect();
            let rules = subscriptions.iter().map(|asked| super::declare::json(&asked.rules));
            let rules: Vec<String> = rules.collect::<Result<_>>()?;
            let row = connected
                .query_one(
                    RESTORE,
                    &[
                        &core.process,
                        &core.label,
                        &core.lease_micros(),
                        &core.now(),
                        &id,
                        &spec.name.as_str(),
                        &columns.spec,
                        &columns.ordering,
                        &columns.priority_max,
                        &columns.length_max,
                        &columns.dedup_window,
                        &spec.unique,
                        &columns.keep_completed,
                        &columns.keep_dead,
                        &columns.is_particular,
                        &topics,
                        &rules,
                    ],
                )
                .await;
            let doing = || format!("make the temporary queue {} again", spec.name);
            let row = row.map_err(|error| failed(doing(), &error))?;
            if row.get(0) {
                tracing::warn!(queue = %spec.name, "others had taken this process for dead; its temporary \
                    queue is there again, without what stood in it");
                core.reload(&connected).await?;
            }
        }
        Ok(())
    }
}
