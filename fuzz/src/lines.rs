//! Headers as lines of text, so that seeds can be written, read and mutated as such.

use bytes::Bytes;
use tramline_core::headers::{HeaderValue, Headers};

/// A line `kind name value`, such as `int total 1200`.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    pub kind: &'a str,
    pub name: &'a str,
    pub value: &'a str,
}

/// The lines of `text` that have a kind and a name.
pub fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines().filter_map(|line| {
        let (kind, rest) = line.split_once(' ')?;
        let (name, value) = rest.split_once(' ').unwrap_or((rest, ""));
        Some(Line { kind, name, value })
    })
}

/// The lines that are headers.
pub fn headers(text: &str) -> Headers {
    lines(text).filter_map(|line| Some((line.name, line.header()?))).collect()
}

impl Line<'_> {
    /// The header of this line: `text`, `int`, `float`, `bool`, or `bytes` in hexadecimal.
    pub fn header(&self) -> Option<HeaderValue> {
        Some(match self.kind {
            "text" => HeaderValue::from(self.value),
            "int" => HeaderValue::Int(self.value.parse().ok()?),
            "float" => HeaderValue::from(self.value.parse::<f64>().ok()?),
            "bool" => HeaderValue::Bool(self.value.parse().ok()?),
            "bytes" => HeaderValue::Bytes(bytes(self.value)),
            _ => return None,
        })
    }
}

/// Bytes from pairs of hexadecimal digits; what is no pair is left out.
pub fn bytes(hexadecimal: &str) -> Bytes {
    let pairs = hexadecimal.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.filter_map(byte).collect()
}
