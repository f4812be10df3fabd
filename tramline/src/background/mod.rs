//! A queue inside this process: accept now, work soon, with bounds. Nothing of it is on a disk: what must
//! outlive the process goes through a bus.
//!
//! ```
//! use std::time::Duration;
//! use tramline::background::{BackgroundQueue, Pushed};
//! use tramline::{Cancel, Failure};
//!
//! struct Thumbnail { picture: u64 }
//!
//! async fn shrink(thumbnail: Thumbnail, _cancel: Cancel) -> Result<(), Failure> {
//!     println!("picture {}", thumbnail.picture);
//!     Ok(())
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), tramline::core::BoxError> {
//! let queue = BackgroundQueue::named("thumbnails").capacity(100).workers(4).start(shrink)?;
//! assert!(matches!(queue.push(Thumbnail { picture: 7 }).await, Ok(Pushed::In)));
//! let stopped = queue.stop(Duration::from_secs(5)).await;
//! println!("{} were not begun", stopped.left.len());
//! # Ok(())
//! # }
//! ```

mod builder;
mod figures;
mod queue;
mod shelf;
mod task;
mod work;

pub use builder::BackgroundQueueBuilder;
pub use figures::BackgroundFigures;
pub use queue::{BackgroundQueue, NotPushed, Pushed, Stopped};
pub use shelf::WhenFull;
pub use task::Task;
pub use work::Work;
pub(crate) use work::{Ended, run};
