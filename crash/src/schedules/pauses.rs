//! What recurs is paused and resumed, again and again.

use super::notes::{Note, Notes, Silence};
use super::planner::Act;
use super::service::PAUSED;
use crate::dice::Dice;
use tramline::core::clock::{Clock, SystemClock};
use tramline::{Error, Failure};

/// Whoever did this before may have died while it was paused: it is resumed first.
pub(super) async fn pause_again_and_again(
    act: &Act<'_>,
    notes: &mut Notes,
    dice: &mut Dice,
) -> Result<(), Failure> {
    while !is_resumed(act, notes).await? {}
    while !act.is_enough() {
        tokio::time::sleep(dice.millis(50..300)).await;
        notes.add(Note::Pausing, now())?;
        let paused = async { act.bus.schedules()?.pause(PAUSED).await };
        if act.heard(paused.await).await? == Some(true) {
            let from = now();
            tokio::time::sleep(dice.millis(50..300)).await;
            // What it stands at while it is paused is sent, but nothing that was before.
            if let Some(Some(until)) = act.heard(next(act).await).await?
                && let Some(silence) = (Silence { from, until }).number()
            {
                notes.add(Note::Silent, silence)?;
            }
        }
        while !is_resumed(act, notes).await? {}
    }
    Ok(())
}

async fn is_resumed(act: &Act<'_>, notes: &mut Notes) -> Result<bool, Failure> {
    let resumed = async { act.bus.schedules()?.resume(PAUSED).await };
    let is_resumed = act.heard(resumed.await).await? == Some(true);
    if is_resumed {
        notes.add(Note::Resumed, now())?;
    }
    Ok(is_resumed)
}

/// The moment that it stands at.
async fn next(act: &Act<'_>) -> Result<Option<u64>, Error> {
    let recurring = act.bus.schedules()?.recurring().await?;
    let row = recurring.iter().find(|row| row.name == PAUSED);
    Ok(row.map(|row| row.next.as_millis().cast_unsigned()))
}

fn now() -> u64 {
    SystemClock.now().as_millis().cast_unsigned()
}
