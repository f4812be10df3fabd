//! Orders are placed over real HTTP, as any client would.

mod client;
mod poster;

pub(crate) use poster::Poster;
