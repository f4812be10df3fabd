//! `sqlite:orders.db?sync=normal`: the URL of a file.

use crate::options::{SqliteOptions, Sync};
use tramline_core::{Error, ErrorKind, Result};

/// The options that `url` says.
pub(crate) fn parse(url: &str) -> Result<SqliteOptions> {
    let bad = |why: String| {
        Error::new(ErrorKind::Misconfigured, format!("read the URL {url:?}")).because(why)
    };
    let rest = url
        .strip_prefix("sqlite:")
        .ok_or_else(|| bad("it does not begin with sqlite:".to_owned()))?;
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    match path {
        "" => return Err(bad("it names no file, as in sqlite:orders.db".to_owned())),
        ":memory:" | "memory" => {
            let hint = "a database in memory has no use across connections; say memory: for a \
                        bus without a file";
            return Err(bad(hint.to_owned()));
        }
        _ => {}
    }
    let mut options = SqliteOptions::new(decode(path).map_err(bad)?.into());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        options = match (key, value) {
            ("sync", "full") => options.sync(Sync::Full),
            ("sync", "normal") => options.sync(Sync::Normal),
            ("sync", other) => {
                return Err(bad(format!("sync is full or normal, not {other:?}")));
            }
            (other, _) => {
                return Err(bad(format!("there is no parameter {other:?}, only sync")));
            }
        };
    }
    Ok(options)
}

/// Undoes percent-encoding, which a path with `?` or `%` in it needs.
fn decode(path: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| (byte as char).to_digit(16));
        match (digit(), digit()) {
            (Some(high), Some(low)) => bytes.push((high * 16 + low) as u8),
            _ => return Err("a % in it is not followed by two hexadecimal digits".to_owned()),
        }
    }
    String::from_utf8(bytes).map_err(|_| "the path is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_url_names_a_file_relative_or_absolute() {
        for (url, path) in [
            ("sqlite:orders.db", "orders.db"),
            ("sqlite://orders.db", "orders.db"),
            ("sqlite:/var/lib/orders.db", "/var/lib/orders.db"),
            ("sqlite:///var/lib/orders.db", "/var/lib/orders.db"),
            ("sqlite:50%25%3F.db?sync=full", "50%?.db"),
        ] {
            assert_eq!(parse(url).ok().unwrap().path, Path::new(path), "{url}");
        }
        assert_eq!(parse("sqlite:a?sync=normal").ok().unwrap().asked.sync, Some(Sync::Normal));
    }

    #[test]
    fn a_wrong_url_is_refused_with_the_reason() {
        for (url, reason) in [
            ("sqlite:", "names no file"),
            ("sqlite::memory:", "say memory:"),
            ("sqlite:a.db?mode=rwc", "no parameter \"mode\""),
            ("sqlite:a.db?sync=off", "full or normal, not \"off\""),
            ("sqlite:a%2.db", "hexadecimal"),
            ("postgres:a", "does not begin with sqlite:"),
        ] {
            let error = parse(url).err().unwrap().to_string();
            assert!(error.contains(reason), "{url}: {error}");
        }
    }
}
