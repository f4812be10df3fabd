//! The time.

use std::sync::Arc;
use tramline::core::clock::Clock;

/// The time, as handlers and requests ask for it.
pub(crate) type SharedClock = Arc<dyn Clock>;
