//! The broker, killed and started again as a server of `cargo xtask services`.

use crate::trouble::Trouble;
use std::process::Stdio;
use tokio::process::Command;

/// Kills the server `service` by SIGKILL and starts it again on what it had written.
///
/// # Errors
/// Says which command failed and repeats its words.
pub(super) async fn kill(service: &str) -> Result<(), Trouble> {
    services("kill", service).await?;
    services("up", service).await
}

async fn services(act: &str, service: &str) -> Result<(), Trouble> {
    let command = format!("cargo xtask services {act} {service}");
    let output = Command::new("cargo")
        .args(["xtask", "services", act, service])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| Trouble::broken(format!("failed to run `{command}`: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(Trouble::broken(format!("`{command}` ended with {}: {}", output.status, words.trim())))
}
