//! Messages that leave at a moment unless they are cancelled, and again and again.
//!
//! [`Bus::publish_at`](crate::Bus::publish_at) and its like need nothing but a transport that can delay, and cannot
//! be taken back. A **named schedule** can: the same name again replaces it, and [`Bus::cancel`](crate::Bus::cancel)
//! ends it, from any process. It is kept in a store ([`BusBuilder::schedules`](crate::BusBuilder::schedules)),
//! whatever the transport is. What **recurs** ([`BusBuilder::recurring`](crate::BusBuilder::recurring)) is kept there
//! too, so that all instances of a service together send one message for each moment.
//!
//! ```
//! # use tramline::core::BoxError;
//! # #[cfg(feature = "memory")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! # use serde::{Deserialize, Serialize};
//! use std::time::Duration;
//! use tramline::schedules::{Cancelled, Scheduled};
//! # use tramline::{Bus, Memory, Message};
//! # #[derive(Serialize, Deserialize)] struct Remind { order: u64 }
//! # impl Message for Remind { const NAME: &'static str = "orders.remind"; }
//!
//! let store = Memory::new();
//! let bus = Bus::builder(store.clone()).schedules(&store).start().await?;
//! let day = Duration::from_secs(24 * 60 * 60);
//! assert_eq!(bus.schedule("reminder:42", day, &Remind { order: 42 }).await?, Scheduled::Done);
//! assert_eq!(bus.cancel("reminder:42").await?, Cancelled::Cancelled);
//! // Whoever cancels is right, even if he is overtaken.
//! let late = bus.schedule("reminder:42", day, &Remind { order: 42 }).await?;
//! assert_eq!(late, Scheduled::AlreadyCancelled);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "memory"))] fn main() {}
//! ```
//!
//! Every bus that declares the store fires what is due. None of them leads: the message and the note that it has
//! left are one transaction, and of several who try, one commits. What leaves goes into the queue, or into the
//! outbox where the transport is another database, so it is sent at least once and has the same id each time.

mod handle;
mod moments;
mod named;
mod planner;
mod planning;
mod recurring;
mod scheduler;

pub use handle::{RecurringSchedule, Schedules};
pub use named::{Cancelled, Scheduled};
pub use planner::Planner;
pub use planning::{Anew, ScheduleName, When};
pub use recurring::{CatchUp, Recurring, SCHEDULED_FOR};

pub(crate) use planning::{cancellation, plan};
pub(crate) use recurring::Declared;
pub(crate) use scheduler::{Scheduler, schedule};
