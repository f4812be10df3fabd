//! Domain events inside this process: those who cause something need not know who cares.
//!
//! An event is any type that can be cloned; its handlers are plain async functions with the extractors that
//! the bus's handlers have. They are done when [`Events::publish`] ends, in the caller's transaction if it has
//! one, so an event is no queue: what must happen later, elsewhere or after a crash is forwarded to the bus,
//! by one line.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use tramline::events::{Event, Events};
//! use tramline::{Failure, Message};
//!
//! #[derive(Clone, Serialize, Deserialize)]
//! struct OrderPlaced { id: u64 }
//! impl Message for OrderPlaced { const NAME: &'static str = "orders.placed"; }
//!
//! async fn reserve(order: OrderPlaced) -> Result<(), Failure> {
//!     println!("reserved for {}", order.id);
//!     Ok(())
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), tramline::core::BoxError> {
//! // Without a bus:
//! let events = Events::builder().event(Event::new().handle(reserve)).start()?;
//! events.publish(&OrderPlaced { id: 7 }).await?;
//!
//! // With one, and to whom it may concern in other processes:
//! # #[cfg(feature = "memory")] {
//! # use tramline::Bus;
//! let bus = Bus::connect("memory:").await?
//!     .event(Event::new().handle(reserve).forward())
//!     .start().await?;
//! bus.events().publish(&OrderPlaced { id: 8 }).await?;
//! # }
//! # Ok(())
//! # }
//! ```

mod builder;
mod event;
#[expect(clippy::module_inception, reason = "what publishes, beside its relatives")]
mod events;
mod failures;
mod handler;
mod raised;

pub use builder::EventsBuilder;
pub(crate) use builder::{check, core};
pub(crate) use event::Declared;
pub use event::Event;
pub(crate) use events::Core;
pub use events::Events;
pub use failures::{EventFailure, EventFailures};
pub use handler::{EventHandler, EventType};
pub(crate) use raised::Raised;
