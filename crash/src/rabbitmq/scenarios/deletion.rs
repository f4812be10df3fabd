//! Somebody deletes the queue that is consumed from. What was in it is lost with it; what is
//! confirmed afterwards is not.

use super::World;
use crate::rabbitmq::course::Course;
use crate::rabbitmq::service::QUORUM;
use crate::servers::{Style, until};
use std::collections::BTreeSet;

pub(super) async fn run(world: &World) -> Result<String, String> {
    let vhost = world.vhost("deletion")?;
    let deletions = world.sized(2, 6);
    // To the queue: an event would reach nobody while there is none, and that is no loss.
    let style = Style { to_queue: Some(QUORUM), ..Style::plain(world.seed) };
    let count = world.count(&vhost, &[QUORUM]);
    let mut course = Course::begin(&vhost.url(""), count, style).await?;
    let mut sound_from = 0;
    for _ in 0..deletions {
        course.load.progress(400).await?;
        handled_since(&course, sound_from).await?;
        vhost.delete_queue(QUORUM).await?;
        // Whatever begins from here on can only be confirmed by the queue that comes after it.
        sound_from = course.load.next_number();
        course.count.deleted = unhandled_before(&course, sound_from)?;
    }
    course.load.progress(400).await?;
    let outcome = course.end().await?;
    vhost.remove()?;
    Ok(format!("{deletions} deletions: {outcome}"))
}

/// Waits until all of these are handled that were confirmed before now: nothing of them has the
/// excuse of a deleted queue.
async fn handled_since(course: &Course, first: u64) -> Result<(), String> {
    let record = &course.count.record;
    let sound: BTreeSet<u64> = record.confirmed()?.split_off(&first);
    let mut left = 0;
    let all = || {
        let handled = record.handled(QUORUM).unwrap_or_default();
        sound.iter().all(|number| handled.contains_key(number))
    };
    until(all, || {
        let handled = record.handled(QUORUM).unwrap_or_default();
        left += sound.iter().filter(|number| !handled.contains_key(number)).count();
        format!("{left} that were confirmed after the queue was there again were not handled")
    })
    .await
}

/// What may have been in the queue when it was deleted, confirmed by now or not.
fn unhandled_before(course: &Course, end: u64) -> Result<BTreeSet<u64>, String> {
    let handled = course.count.record.handled(QUORUM)?;
    let gone = (0..end).filter(|number| !handled.contains_key(number));
    Ok(gone.collect())
}
