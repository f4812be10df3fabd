//! What fuzz targets need to reach. It is compiled for them alone and no part of the interface.

use crate::options::Sync;
use crate::url;
use std::path::PathBuf;
use tramline_core::Result;

/// The file that `text` names, and when it says that a commit is safe.
pub fn parse_url(text: &str) -> Result<(PathBuf, Option<Sync>)> {
    let options = url::parse(text)?;
    Ok((options.path, options.asked.sync))
}
