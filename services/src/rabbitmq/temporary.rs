//! A server that a test has to itself.

use crate::Service;
use std::io::Write;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};

/// A server that is killed and removed with all its data when this is dropped.
pub struct Temporary<S: Service>(S);

impl<S: Service> Temporary<S> {
    pub(crate) fn new(server: S) -> Self {
        Self(server)
    }
}

impl<S: Service> Deref for Temporary<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0
    }
}

impl<S: Service> Drop for Temporary<S> {
    fn drop(&mut self) {
        if let Err(error) = self.0.wipe() {
            // A test that fails already must not abort for it.
            writeln!(std::io::stderr(), "failed to remove a temporary server: {error}").ok();
        }
    }
}

/// A name that no other test has, in this process or another.
pub(crate) fn instance(word: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("{word}-{}-{number}", std::process::id())
}

pub(crate) fn owned(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
