//! What must come to pass, and for how long it is waited for.

use std::time::{Duration, Instant};
use tramline::{Bus, Drained};

/// How long something that must come to pass is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// How often it is looked for. The shortest is the pause before a connection is made again, of at least
/// 25 ms.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long handlers may finish when the process is told to end.
pub(crate) const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// Waits until `is_so`; `otherwise` what is wrong.
pub(crate) async fn until(
    mut is_so: impl FnMut() -> bool,
    otherwise: impl FnOnce() -> String,
) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        if Instant::now() >= deadline {
            return Err(format!("within {PATIENCE:?} {}", otherwise()));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Stops a bus while its server is well.
pub(crate) async fn drain(bus: &Bus) -> Result<(), String> {
    match bus.drain(DRAIN_LIMIT).await {
        Ok(Drained::Clean) => Ok(()),
        Ok(Drained::CutShort) => Err(format!("a drain took more than {DRAIN_LIMIT:?}")),
        Err(error) => Err(format!("failed to drain a bus: {error}")),
    }
}

/// Faults in lines, the first of them.
pub(crate) fn list(faults: Vec<String>) -> String {
    const SHOWN: usize = 20;
    let more = faults.len().saturating_sub(SHOWN);
    let shown = faults.into_iter().take(SHOWN).collect::<Vec<_>>().join("\n  ");
    if more == 0 { format!("  {shown}") } else { format!("  {shown}\n  and {more} more") }
}
