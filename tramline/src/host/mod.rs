//! What makes a program: its servers, buses, queues and workers, started in order and stopped in reverse.
//!
//! ```
//! use std::time::Duration;
//! use tramline::Failure;
//! use tramline::host::{Host, Worker};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), tramline::core::BoxError> {
//! let refresh = Worker::every(Duration::from_secs(60)).run(|_cancel| async {
//!     println!("prices are refreshed");
//!     Ok::<(), Failure>(())
//! })?;
//! let host = Host::new()
//!     .service("greeter", |running| async move {
//!         println!("hello");
//!         running.stopping().await; // ctrl-c, SIGTERM, or another service that has failed
//!         println!("goodbye");
//!     })
//!     .worker("prices", refresh);
//! # host.handle().stop();
//! let stopped = host.run().await?;
//! assert!(stopped.cut_short.is_empty());
//! # Ok(())
//! # }
//! ```

mod error;
mod handle;
#[expect(clippy::module_inception, reason = "the host itself, beside what it runs")]
mod host;
mod hosted;
mod running;
mod schedule;
mod supervise;
mod worker;

pub use error::HostError;
pub use handle::{HostHandle, ServiceState, ServiceStatus};
pub use host::{Host, HostStopped};
pub use hosted::Hosted;
pub use running::Running;
pub use schedule::Overrun;
pub use worker::{Worker, WorkerBuilder};
