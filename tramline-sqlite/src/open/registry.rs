//! One file, one writer in a process, however often it is opened and by whatever name.

use super::core::Core;
use super::file_system;
use super::session::Session;
use crate::options::SqliteOptions;
use crate::sqlite::Sqlite;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Weak};
use tramline_core::{Error, ErrorKind, Result};

/// Every file that this process has open, by its canonical path.
static OPEN: LazyLock<Mutex<HashMap<PathBuf, Place>>> = LazyLock::new(Mutex::default);

/// The place of one file. Its own lock, so that a file that is slow to open holds up no other.
type Place = Arc<Mutex<Weak<Core>>>;

pub(crate) async fn open(options: SqliteOptions) -> Result<Sqlite> {
    let opened = tokio::task::spawn_blocking(move || open_blocking(&options)).await;
    match opened {
        Ok(core) => Ok(Sqlite { core: core?, session: Arc::new(Session::new()) }),
        Err(error) => Err(Error::new(ErrorKind::Unavailable, "open the file").because(error)),
    }
}

fn open_blocking(options: &SqliteOptions) -> Result<Arc<Core>> {
    let path = canonical(&options.path)?;
    if !options.on_any_file_system {
        file_system::check(&path)?;
    }
    if options.isolated {
        return Core::open(path, options.asked.settings());
    }
    let place = {
        let mut open = OPEN.lock();
        open.retain(|_, place| Arc::strong_count(place) > 1 || place.lock().strong_count() > 0);
        open.entry(path.clone()).or_default().clone()
    };
    let mut place = place.lock();
    // A core whose writer has gone serves nobody any more, whoever still holds it.
    let Some(core) = place.upgrade().filter(|core| !core.jobs.is_closed()) else {
        let core = Core::open(path, options.asked.settings())?;
        *place = Arc::downgrade(&core);
        return Ok(core);
    };
    match options.asked.difference(&core.shared.settings) {
        None => Ok(core),
        Some(option) => Err(Error::new(ErrorKind::Conflict, format!("open {}", path.display()))
            .because(format!("this process has it open already with another value for {option}"))),
    }
}

/// The one name of the file, whether it is there yet or not.
fn canonical(path: &Path) -> Result<PathBuf> {
    let failed = |error| {
        Error::new(ErrorKind::Misconfigured, format!("open {}", path.display())).because(error)
    };
    if let Ok(path) = path.canonicalize() {
        return Ok(path);
    }
    let Some(name) = path.file_name() else {
        return Err(failed("it names no file".to_owned()));
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let no_folder = |error| failed(format!("its folder cannot be found ({error})"));
    Ok(folder.canonicalize().map_err(no_folder)?.join(name))
}
