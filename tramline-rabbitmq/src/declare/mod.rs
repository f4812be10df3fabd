//! What was asked for is there: queues, topics and bindings, also after the connection broke.
//!
//! 1. `arguments`, `form`, `plan`: what a specification means to this broker
//! 2. `topic_bindings`: which bindings a subscription needs
//! 3. `step`, `ask`, `differences`: one thing that is asked of the broker; many; what it refuses
//! 4. `record`, `registry`: what is remembered of all declarations, held by one process at a time
//! 5. `foreign`: exchanges and bindings by the names that others gave them
//! 6. `work`: one declaration from the first question to the last; `declared`: and again
//! 7. `full`: what a refused message means

mod arguments;
mod ask;
mod declared;
mod differences;
mod foreign;
mod form;
mod full;
mod plan;
mod record;
mod registry;
pub(crate) mod step;
mod topic_bindings;
mod work;

pub use foreign::{Binding, Exchange};

pub(crate) use arguments::QueueKind;
pub(crate) use declared::Declared;
pub(crate) use form::{QueueForm, quorum};
