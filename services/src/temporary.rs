//! Servers of one process alone, which do not stay.

use crate::catalog::{Name, all, named};
use crate::{Result, Service};
use std::io::Write;
use std::ops::Deref;
use std::path::Path;
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

/// A name for a server of this process alone, which has to [`wipe`](Service::wipe) it in the end. What
/// earlier processes have left behind is removed now.
///
/// # Errors
/// If there is no such kind, `word` is more than a short word of small letters, digits and `-`, or
/// something that was left behind cannot be removed.
pub fn temporary(kind: &str, word: &str) -> Result<Name> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    for name in all()? {
        if owner(name.instance()).is_some_and(|process| !runs(process)) {
            named(&name)?.wipe()?;
        }
    }
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    Name::of(kind, &format!("{word}-{MARK}{}-{number}", std::process::id()))
}

/// What stands before the process in the name of a temporary server.
const MARK: &str = "of";

/// The process that a temporary server is for.
fn owner(instance: &str) -> Option<u32> {
    let mut words = instance.rsplit('-');
    let (_number, process) = (words.next()?, words.next()?);
    process.strip_prefix(MARK)?.parse().ok()
}

fn runs(process: u32) -> bool {
    Path::new("/proc").join(process.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_server_is_told_from_one_that_somebody_has_named() {
        let name = temporary("rabbitmq", "kill-twice").unwrap();
        assert_eq!(owner(name.instance()), Some(std::process::id()));
        assert!(runs(std::process::id()));
        for named in ["", "faults", "faults-1-2", "faults-of-2", "of7"] {
            assert_eq!(owner(named), None, "{named}");
        }
    }
}
