//! What a parent and its workers say to each other, in lines.
//!
//! The parent holds a worker's standard input open for as long as it lives. Its end is the parent's
//! end, however that came about: the operating system closes it, so no signal is needed.

/// From a worker's standard output: its queues are declared and it receives.
pub(super) const READY: &str = "ready";

/// To a worker's standard input: finish what runs, and end.
pub(super) const DRAIN: &str = "drain";
