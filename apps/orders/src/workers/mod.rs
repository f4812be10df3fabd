//! Worker processes: the same program with other orders. They run the endpoints, and may die.

mod process;
mod supervisor;
mod words;
mod work;

pub(crate) use process::WorkerCommand;
pub(crate) use supervisor::Supervisor;
pub(crate) use work::work;
