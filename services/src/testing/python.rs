//! Python with `pika`, a client that knows nothing of us.

use super::{PATIENCE, Vhost};
use crate::folder::root;
use crate::{Error, Result, or_skip};
use std::path::{Path, PathBuf};
use std::process::Command;
use tokio::sync::OnceCell;

/// A script that sends the body that it is given to the queue `work`, with no properties at all.
pub const SEND: &str = r#"
import pika, sys
connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
channel.confirm_delivery()
channel.basic_publish("", "work", sys.argv[2].encode(), mandatory=True)
connection.close()
"#;

/// The Python that has `pika`. `None`, and told, where there is neither it nor a way to get it.
///
/// # Panics
/// … and `cargo xtask test --require all` forbids to pass it over.
pub async fn python() -> Option<&'static Path> {
    static PYTHON: OnceCell<Result<PathBuf>> = OnceCell::const_new();
    let found =
        PYTHON.get_or_init(|| async { tokio::task::spawn_blocking(install).await.unwrap() });
    or_skip(found.await.as_deref().map_err(Clone::clone))
}

fn install() -> Result<PathBuf> {
    let folder = root()?.join("pika");
    let python = folder.join("bin/python");
    if run(&python, &["-c", "import pika"]).is_err() {
        provide(&folder, &python).map_err(|why| Error::Absent { kind: "pika", why })?;
    }
    Ok(python)
}

fn provide(folder: &Path, python: &Path) -> std::result::Result<(), String> {
    run(Path::new("python3"), &["-m", "venv", "--clear", folder.to_str().unwrap()])?;
    run(python, &["-m", "pip", "install", "--quiet", "pika>=1.3,<2"]).map(drop)
}

fn run(program: &Path, arguments: &[&str]) -> std::result::Result<String, String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!("{arguments:?}: {}", text(&output.stderr))),
    }
}

/// What `script` prints, given the vhost's URL and `last`.
pub async fn script(
    python: &'static Path,
    script: &'static str,
    vhost: &Vhost,
    last: &str,
) -> String {
    let mut url = vhost.url.clone();
    url.set_query(None);
    let (url, last) = (url.to_string(), last.to_owned());
    let ran = tokio::task::spawn_blocking(move || run(python, &["-c", script, &url, &last]));
    tokio::time::timeout(PATIENCE, ran).await.expect("an end in time").unwrap().unwrap()
}
