//! What a filter can look at.

use crate::headers::Headers;

/// The parts of one message that a filter can look at: subject, headers and body.
///
/// Whatever else filters shall see (native properties of a broker, say), the caller puts into the
/// headers. The body is any bytes; one that is not a JSON object has no fields.
///
/// ```
/// use tramline_core::filter::{Facts, Filter};
/// use tramline_core::headers::Headers;
///
/// let headers = Headers::from_iter([("region", "eu")]);
/// let facts = Facts::new("orders.placed", &headers, br#"{"total": 1200}"#);
/// let matcher = Filter::sql("region = 'eu' AND total > 1000").compile()?;
/// assert!(matcher.matches(&facts));
/// # Ok::<(), tramline_core::filter::FilterError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub(super) subject: &'a str,
    pub(super) headers: &'a Headers,
    pub(super) body: &'a [u8],
}

impl<'a> Facts<'a> {
    /// The facts of a message. Nothing is read or copied here.
    pub fn new(subject: &'a str, headers: &'a Headers, body: &'a [u8]) -> Self {
        Self { subject, headers, body }
    }
}
