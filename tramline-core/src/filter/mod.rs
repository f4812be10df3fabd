//! Filters: which messages of a topic a subscription lets through.
//!
//! A [`Filter`] is data: it is written in code, stored by drivers and shown to operators. It is
//! checked once, by [`Filter::compile`], which gives the [`Matcher`] that looks at messages.
//!
//! - [`Filter::All`] lets everything through.
//! - [`Filter::Subject`] compares the words of the subject with a [`SubjectPattern`].
//! - [`Filter::Headers`] compares headers with wanted values, see [`HeadersFilter`].
//! - [`Filter::Sql`] evaluates a condition over headers and body fields, see [`SqlExpression`].
//!
//! Matching is pure: the same [`Facts`] always give the same answer, and it never fails.

mod error;
mod facts;
#[expect(clippy::module_inception, reason = "the folder is named after its main type")]
mod filter;
mod headers;
mod matcher;
mod sql;
mod subject;
mod wildcard;

pub use error::FilterError;
pub use facts::Facts;
pub use filter::Filter;
pub use headers::{HeadersFilter, HeadersMatch};
pub use matcher::Matcher;
pub use sql::SqlExpression;
pub use subject::SubjectPattern;
