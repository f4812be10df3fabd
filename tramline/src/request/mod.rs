//! Requests: a command that is answered.
//!
//! A request goes to one queue, as a command does; its responder is a handler that answers a reply, on the bus
//! ([`Endpoint::respond`](crate::Endpoint::respond), [`Bus::request`](crate::Bus::request)) or in this process
//! without one ([`Mediator`]).
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use tramline::request::{Mediator, Request};
//! use tramline::{Failure, Message};
//!
//! #[derive(Serialize, Deserialize)]
//! struct CheckStock { sku: u64 }
//! impl Message for CheckStock { const NAME: &'static str = "stock.check"; }
//! impl Request for CheckStock { type Reply = Stock; }
//!
//! #[derive(Serialize, Deserialize)]
//! struct Stock { left: u32 }
//! impl Message for Stock { const NAME: &'static str = "stock.checked"; }
//!
//! async fn check(request: CheckStock) -> Result<Stock, Failure> {
//!     if request.sku == 0 {
//!         return Err(Failure::rejected("no such article"));
//!     }
//!     Ok(Stock { left: 3 })
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), tramline::core::BoxError> {
//! // On a bus, from any process:
//! # #[cfg(feature = "memory")] {
//! # use tramline::{Bus, Endpoint};
//! let bus = Bus::connect("memory:").await?.endpoint(Endpoint::new("stock").respond(check)).start().await?;
//! let stock = bus.request("stock", &CheckStock { sku: 7 }).await?;
//! assert_eq!(stock.left, 3);
//! # }
//!
//! // In this process, with the same handler:
//! let mediator = Mediator::builder().respond(check).start()?;
//! let refused = mediator.request(CheckStock { sku: 0 }).await.map(|stock| stock.left);
//! assert_eq!(refused.unwrap_err().to_string(), "the request stock.check was rejected: no such article");
//! # Ok(())
//! # }
//! ```

mod asking;
mod desk;
mod error;
mod fault;
mod mediator;
mod replies;
#[expect(clippy::module_inception, reason = "the trait itself, beside its relatives")]
mod request;
mod responder;

pub use asking::{Asking, REQUEST_LIMIT};
pub use error::RequestError;
pub use fault::{FailureKind, RemoteFailure};
pub use mediator::{Mediator, MediatorBuilder};
pub use request::Request;
pub use responder::{IntoReply, Responder};

pub(crate) use desk::count_late;
pub(crate) use fault::{Fault, failed, fault_of, unreadable};
pub(crate) use replies::Replies;
pub(crate) use responder::RespondStep;
