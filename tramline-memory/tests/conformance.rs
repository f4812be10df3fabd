//! The suites that every driver passes.

use tramline_conformance::{StoreHarness, TransportHarness, Write};
use tramline_core::Failure;
use tramline_core::name::QueueName;
use tramline_memory::store::{Db, MemoryTx};
use tramline_memory::{Memory, MemoryOptions};

mod native {
    tramline_conformance::transport_suite!(super::Broker(super::Memory::options()));
}

mod without_native_retry {
    tramline_conformance::transport_suite!(super::Broker(
        super::Memory::options().without_native_retry()
    ));
}

mod without_native_retry_and_dead_letters {
    tramline_conformance::transport_suite!(super::Broker(
        super::Memory::options().without_native_retry().without_native_dead_letters()
    ));
}

mod store {
    tramline_conformance::store_suite!(super::Database);
}

struct Broker(MemoryOptions);

impl TransportHarness for Broker {
    type Transport = Memory;

    async fn fresh(&self) -> Memory {
        self.0.clone().build()
    }

    async fn other(&self, first: &Memory) -> Memory {
        first.clone()
    }

    async fn end_leases(&self, holder: &Memory, queue: &QueueName) {
        holder.expire_leases(queue);
    }

    /// The handle goes, and the memory stays: that is all that a process can lose of it.
    async fn restart(&self, transport: Memory) -> Option<Memory> {
        Some(transport.clone())
    }
}

struct Database;

impl StoreHarness for Database {
    type Store = Memory;
    type Transport = Memory;

    async fn fresh(&self) -> Memory {
        Memory::new()
    }

    async fn other(&self, first: &Memory) -> Memory {
        first.clone()
    }

    async fn transport(&self, store: &Memory) -> Option<Memory> {
        Some(store.clone())
    }

    async fn restart(&self, store: Memory) -> Option<Memory> {
        Some(store.clone())
    }

    async fn write(&self, tx: &mut MemoryTx, write: Write) -> Result<(), Failure> {
        tx.write(move |db| perform(db, &write))
    }

    async fn read(&self, store: &Memory, name: &str) -> Option<i64> {
        store.read(|db| db.get(name)).await
    }
}

fn perform(db: &mut Db<'_>, write: &Write) -> Result<(), Failure> {
    match write {
        Write::Put { name, value } => db.put(name, *value),
        Write::Add { name, by } => {
            let before: i64 = db.get(name).unwrap_or(0);
            db.put(name, before + by);
        }
        Write::Publish(note) => db.publish(note.draft())?,
        Write::Send(queue, note) => db.send(queue.as_str(), note.draft())?,
        Write::Fail(why) => return Err(Failure::permanent(why.as_str())),
        Write::Panic => panic!("a scenario asked for it"),
    }
    Ok(())
}
