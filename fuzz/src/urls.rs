//! A URL names a driver and what it opens, or is refused in one line.

use std::path::PathBuf;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use tramline::Bus;
use tramline_sqlite::Sync;
use tramline_sqlite::fuzzing::parse_url;

pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    check_sqlite(&text);
    check_sqlite(&format!("sqlite:{text}"));
    check_scheme(&text);
}

fn check_sqlite(text: &str) {
    match parse_url(text) {
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
        Ok(opened) => {
            assert!(!opened.0.as_os_str().is_empty(), "{text:?} names a file");
            assert_eq!(parse_url(&written(&opened)).ok(), Some(opened), "{text:?}");
        }
    }
}

/// The URL for these options, with every byte of the path encoded.
fn written((path, sync): &(PathBuf, Option<Sync>)) -> String {
    let path = path.to_str().expect("a URL is text");
    let path: String = path.bytes().map(|byte| format!("%{byte:02x}")).collect();
    match sync {
        None => format!("sqlite:{path}"),
        Some(Sync::Full) => format!("sqlite:{path}?sync=full"),
        Some(Sync::Normal) => format!("sqlite:{path}?sync=normal"),
    }
}

/// This build knows memory only, which is there at once.
fn check_scheme(text: &str) {
    let connecting = pin!(Bus::connect(text));
    let Poll::Ready(connected) = connecting.poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("{text:?} is waited for");
    };
    match connected {
        Ok(_) => assert_eq!(text, "memory:"),
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
}
