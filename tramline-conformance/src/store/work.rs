//! A handler's transaction, as scenarios write it down.

use super::harness::{StoreHarness, Write};
use crate::kit::message::message_id;
use crate::kit::scene::{Scene, WORK};
use crate::kit::time::within;
use crate::kit::topology::queues;
use std::sync::Arc;
use tramline_core::capabilities::Support;
use tramline_core::clock::{SystemClock, SystemEntropy};
use tramline_core::codec::Encoding;
use tramline_core::compose::{Composer, Parent, Publishing, Scope};
use tramline_core::envelope::Envelope;
use tramline_core::store::{CommitError, Committed, Condition, Refusal, Store};
use tramline_core::transport::{Outgoing, Transport};

/// The endpoint whose handlers scenarios play.
pub(super) const ENDPOINT: &str = "payment";

/// What one handler does, and what must hold for it to count.
#[derive(Clone)]
pub(super) struct Work {
    scope: Scope,
    writes: Vec<Write>,
    conditions: Vec<Condition>,
    buffered: Vec<Outgoing>,
}

impl Work {
    /// Writes, outside of any handler, whose messages go to the outbox.
    pub(super) fn of(writes: impl IntoIterator<Item = Write>) -> Self {
        Self {
            scope: outside(Publishing::Outbox),
            writes: writes.into_iter().collect(),
            conditions: Vec::new(),
            buffered: Vec::new(),
        }
    }

    /// The same with messages made as `scope` says.
    pub(super) fn under(self, scope: Scope) -> Self {
        Self { scope, ..self }
    }

    /// The same, if all of `conditions` hold.
    pub(super) fn provided(self, conditions: impl IntoIterator<Item = Condition>) -> Self {
        let conditions = conditions.into_iter().collect();
        Self { conditions, ..self }
    }

    /// The same, with messages that the engine has buffered.
    pub(super) fn buffering(self, buffered: impl IntoIterator<Item = Outgoing>) -> Self {
        let buffered = buffered.into_iter().collect();
        Self { buffered, ..self }
    }

    /// Executes and commits. A write that fails at once is a handler that fails.
    pub(super) async fn commit<H: StoreHarness>(
        self,
        harness: &H,
        store: &H::Store,
    ) -> Result<Committed, CommitError> {
        let work = async {
            let mut tx = store.begin(self.scope).await.map_err(CommitError::Store)?;
            for write in self.writes {
                harness.write(&mut tx, write).await.map_err(CommitError::Handler)?;
            }
            store.commit(tx, self.conditions, self.buffered).await
        };
        within(harness.patience(), "the answer to a commit", work).await
    }

    /// Commits, which must succeed.
    pub(super) async fn done<H: StoreHarness>(self, harness: &H, store: &H::Store) {
        let committed = self.commit(harness, store).await;
        let committed = committed.unwrap_or_else(|error| panic!("expected a commit, got: {error}"));
        assert_eq!(committed, Committed::Done);
    }

    /// Commits, which must be refused; answers why.
    pub(super) async fn refused<H: StoreHarness>(
        self,
        harness: &H,
        store: &H::Store,
    ) -> Vec<(usize, Refusal)> {
        match self.commit(harness, store).await {
            Ok(Committed::Refused(refusals)) => refusals,
            other => panic!("expected a refusal, got: {other:?}"),
        }
    }

    /// Commits, which must fail for the handler's own reasons; answers them.
    pub(super) async fn failed<H: StoreHarness>(self, harness: &H, store: &H::Store) -> String {
        match self.commit(harness, store).await {
            Err(CommitError::Handler(failure)) => failure.to_string(),
            other => panic!("expected the handler's failure, got: {other:?}"),
        }
    }
}

pub(super) fn put(name: &str, value: i64) -> Write {
    Write::Put { name: name.to_owned(), value }
}

pub(super) fn add(name: &str, by: i64) -> Write {
    Write::Add { name: name.to_owned(), by }
}

/// A caller outside of any handler.
pub(super) fn outside(publishing: Publishing) -> Scope {
    let composer = Composer {
        encoding: Encoding::Json,
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    };
    Scope::outside(Arc::new(composer), publishing)
}

/// The handler of [`ENDPOINT`] at work on `envelope`, which is known by `id`.
pub(super) fn handling(id: &str, envelope: Envelope, publishing: Publishing) -> Scope {
    let parent =
        Parent { id: message_id(id), envelope: Arc::new(envelope), endpoint: ENDPOINT.into() };
    Scope { parent: Some(parent), ..outside(publishing) }
}

/// The transport on the store's database, if there is one.
pub(super) async fn shared<H: StoreHarness>(
    harness: &H,
    store: &H::Store,
) -> Option<Scene<H::Transport>> {
    let transport = harness.transport(store).await?;
    assert_eq!(
        transport.database(),
        Some(store.database()),
        "store and transport must see that they share a database"
    );
    let mut scene = Scene::on(transport, harness.patience()).await;
    scene.declare(queues([WORK])).await;
    let can = scene.can(WORK);
    assert_eq!(can.shared_transaction, Support::Native, "it shares its database");
    Some(scene)
}
