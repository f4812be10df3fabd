//! The suites that every driver passes.

use tramline_conformance::{StoreHarness, TransportHarness, Write};
use tramline_core::Failure;
use tramline_core::name::QueueName;
use tramline_memory::Memory;
use tramline_memory::store::{Db, MemoryTx};

/// As it comes.
struct Native;

impl TransportHarness for Native {
    type Transport = Memory;

    async fn fresh(&self) -> Memory {
        Memory::new()
    }

    async fn other(&self, first: &Memory) -> Memory {
        first.clone()
    }

    async fn end_leases(&self, holder: &Memory, queue: &QueueName) {
        holder.expire_leases(queue);
    }

    async fn restart(&self, transport: Memory) -> Option<Memory> {
        Some(transport.clone())
    }
}

/// As brokers are that can only be sent a copy.
struct Restricted;

impl TransportHarness for Restricted {
    type Transport = Memory;

    async fn fresh(&self) -> Memory {
        Memory::options().without_native_retry().without_native_dead_letters().build()
    }

    async fn other(&self, first: &Memory) -> Memory {
        first.clone()
    }

    async fn end_leases(&self, holder: &Memory, queue: &QueueName) {
        holder.expire_leases(queue);
    }

    async fn restart(&self, transport: Memory) -> Option<Memory> {
        Some(transport.clone())
    }
}

/// The same memory as a store.
struct Stored;

impl StoreHarness for Stored {
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

mod native {
    tramline_conformance::transport_suite!(super::Native);
}

mod restricted {
    tramline_conformance::transport_suite!(super::Restricted);
}

mod store {
    tramline_conformance::store_suite!(super::Stored);
}
