//! Tramline in memory: a transport and a store that live and die with their process.
//!
//! For tests, for examples, and to read first when another driver is to be written: it keeps every
//! promise of the contracts but durability beyond the process, natively and with little code.
//!
//! [`Memory`] is the whole broker. Its clones are handles on the same one, so what a restart of a
//! real broker's client would find again, a new receiver on a clone finds again here.
//!
//! Read in the order of a message's life:
//!
//! 1. `routes`: what is declared; a pure look-up from a destination to queues
//! 2. `posting`: outgoing messages become `row`s; `admission`: which of them may come in
//! 3. `queue`: the rows of one queue, pure, with their order by key (`keys`), what it knows of
//!    before (`window`) and what was handled (`kept`); `state` and `settle`: everything under the
//!    one lock
//! 4. `shared`: the lock itself; `bell`: who is woken after it, and why no wake-up is lost
//! 5. `transport`, `sender`, `receiver`, `delivery`, `lease`: the contract, only translated
//! 6. `operate` and `redrive`: what operators see and do
//! 7. [`store`]: transactions, inbox, outbox
//!
//! ```
//! use tramline_core::clock::{Clock, Deadline, SystemClock};
//! use tramline_core::envelope::Envelope;
//! use tramline_core::name::{QueueName, QueueRef};
//! use tramline_core::topology::{QueueSpec, Topology};
//! use tramline_core::transport::*;
//! use tramline_memory::Memory;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (memory, payment) = (Memory::new(), QueueName::new("payment")?);
//! let queues = vec![QueueSpec::new(payment.clone())];
//! memory.declare(&Topology { queues, ..Topology::default() }).await?;
//!
//! let outgoing = Outgoing {
//!     to: Destination::Queue(QueueRef::Main(payment.clone())),
//!     envelope: Envelope::default().into(),
//!     due: None,
//!     copy: None,
//! };
//! let sent = memory.sender().await?.send(&[outgoing], Deadline(SystemClock.now())).await;
//! assert!(sent[0].is_accepted());
//!
//! let mut receiver = memory.receiver(&Source::of(QueueRef::Main(payment), 1)).await?;
//! assert!(receiver.next().await?.is_some());
//! # Ok(())
//! # }
//! ```

mod admission;
mod bell;
mod delivery;
mod kept;
mod keys;
mod lease;
mod memory;
mod operate;
mod options;
mod posting;
mod queue;
mod ready;
mod receiver;
mod redrive;
mod routes;
mod row;
mod sender;
mod settle;
mod shared;
mod state;
pub mod store;
mod transport;
mod unique;
mod window;

pub use delivery::MemoryDelivery;
pub use memory::Memory;
pub use options::MemoryOptions;
pub use receiver::MemoryReceiver;
pub use sender::MemorySender;
