//! The one place that talks to whoever started the program. Results go to the standard output,
//! everything else to the standard error.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the program's voice")]

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use tracing_subscriber::EnvFilter;

/// A line for whoever reads the results: a person or a program.
pub(crate) fn say(line: impl Display) {
    let mut output = std::io::stdout().lock();
    // Whoever closed the other end does not want to hear it.
    let _ = writeln!(output, "{line}");
    let _ = output.flush();
}

/// A line about what goes on.
pub(crate) fn note(line: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Logs to the standard error. `RUST_LOG` says what; unless it does, failures of handlers are left
/// out: this service lives on them, and its report counts them. So is what the AMQP client says of the end of
/// connections, of which the bus tells.
pub(crate) fn log() {
    const DEFAULT: &str = "warn,lapin=off,tramline::dead_letters=off";
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let errors = std::io::stderr;
    let colours = errors().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(errors).init();
}
