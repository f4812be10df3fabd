//! Circuit breakers: who depends on something that is down stops asking it, for a while.
//!
//! ```
//! use std::time::Duration;
//! use tramline::breaker::{BreakerState, CircuitBreaker};
//! use tramline::{Bus, Endpoint, Failure, Message};
//!
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Serialize, Deserialize)] struct OrderPlaced { order: u64 }
//! # impl Message for OrderPlaced { const NAME: &'static str = "orders.placed"; }
//! async fn charge(_order: OrderPlaced) -> Result<(), Failure> {
//!     Err(Failure::retryable("the gateway is down"))
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let gateway = CircuitBreaker::named("gateway")
//!     .failure_rate(0.5)
//!     .window(Duration::from_secs(30))
//!     .calls_min(4)
//!     .open_for(Duration::from_secs(60))
//!     .build();
//! let payment = Endpoint::new("payment").circuit_breaker(&gateway).handle(charge);
//! let bus = Bus::connect("memory:").await?.endpoint(payment).start().await?;
//! for order in 0..10 {
//!     bus.send("payment", &OrderPlaced { order }).await?;
//! }
//! # let mut waits = 0;
//! while gateway.state() == BreakerState::Closed {
//!     tokio::time::sleep(Duration::from_millis(1)).await;
//! #   waits += 1;
//! #   assert!(waits < 5000, "it never opens");
//! }
//! // The endpoint takes nothing for a minute; then it tries one message, uncharged.
//! assert_eq!(gateway.figures().opened, 1);
//! # drop(bus.drain(Duration::from_secs(1)).await?);
//! # Ok(())
//! # }
//! ```

#[expect(clippy::module_inception, reason = "the breaker itself, beside what it is made of")]
mod breaker;
mod builder;
mod figures;
mod machine;
#[cfg(test)]
mod properties;
mod seats;
mod window;

pub use breaker::CircuitBreaker;
pub(crate) use breaker::{Admits, Permit};
pub use builder::CircuitBreakerBuilder;
pub use figures::BreakerFigures;
pub use machine::BreakerState;
pub(crate) use machine::{CallEnd, Ended};
pub(crate) use seats::Seat;
