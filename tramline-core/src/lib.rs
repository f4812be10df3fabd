//! Words and contracts of Tramline: no I/O, no runtime, no `unsafe`.

pub mod filter;
pub mod headers;
