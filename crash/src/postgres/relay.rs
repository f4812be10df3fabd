//! A process that relays an outbox to a broker, and appends to it.

use super::command::SUBJECT;
use super::writer::{By, Writer};
use crate::servers::{DRAIN_LIMIT, Place, Placed, Process, Record};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tramline::core::clock::{Entropy, SystemEntropy};
use tramline::{Bus, Postgres};

/// What is begun here is told by it apart from what others have begun: so many bits of each random
/// number say which process drew it.
const BRAND_BITS: u32 = 4;

/// Which relay this is, and what it works with.
#[derive(clap::Args)]
pub(crate) struct Relay {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The database with the outbox
    store: String,
    /// The broker
    broker: String,
    /// Which one it is
    index: u64,
    /// The first of the seeds of its writers
    seed: u64,
    /// How many writers there are in this process
    writers: u64,
}

impl Relay {
    pub(crate) async fn run(&self) -> Result<(), String> {
        let (bus, store) = start(&self.store, &self.broker, self.index).await?;
        let stop = CancellationToken::new();
        let mut writers = JoinSet::new();
        for writer in 0..self.writers {
            let by = By::Outbox(bus.store(&store));
            let writer = Writer::new(store.pool().clone(), by, self.seed + writer);
            writers.spawn(writer.write_until(stop.clone()));
        }
        let ran = bus.run(DRAIN_LIMIT).await;
        stop.cancel();
        ran.map(|_| ()).map_err(|error| error.to_string())
    }
}

/// Begins to relay.
pub(crate) async fn start(
    store: &str,
    broker: &str,
    index: u64,
) -> Result<(Bus, Postgres), String> {
    let opened = Postgres::options(store).entropy(std::sync::Arc::new(Branded(index))).open().await;
    let store = opened.map_err(|error| error.to_string())?;
    let bus = Bus::connect(broker).await.map_err(|error| error.to_string())?;
    let bus = bus.store(store.clone()).publishes::<Placed>().start().await;
    bus.map(|bus| (bus, store)).map_err(|error| error.to_string())
}

/// A process that does so, in all of its lives.
pub(crate) fn process(
    record: &Record,
    urls: [String; 2],
    index: u64,
    seed: u64,
    writers: u64,
) -> Process {
    let [store, broker] = urls;
    let numbers = [index, seed, writers].map(|number| number.to_string());
    let arguments = [SUBJECT.to_owned(), "relay".to_owned(), store, broker].into_iter();
    Process::new(record, &name(index), arguments.chain(numbers).collect())
}

/// What a relay's connections are called, and its files.
pub(crate) fn name(index: u64) -> String {
    format!("relay-{index}")
}

/// The leases of a relay, in all of its lives.
pub(crate) fn leases(index: u64) -> String {
    let brand = (1_u64 << BRAND_BITS) - 1;
    format!("SELECT lease FROM tramline.relay WHERE lease & {brand} = {index}")
}

/// The machine's chance, but for the lowest bits.
struct Branded(u64);

impl Entropy for Branded {
    fn bits(&self) -> u128 {
        (SystemEntropy.bits() >> BRAND_BITS << BRAND_BITS) | u128::from(self.0)
    }
}
