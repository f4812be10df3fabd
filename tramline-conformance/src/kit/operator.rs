//! What an operator sees, where the transport offers it.

use super::message::queue_name;
use super::scene::Scene;
use super::time::{now, within};
use tramline_core::name::QueueRef;
use tramline_core::operate::{Depth, Figure, Peeked};
use tramline_core::transport::Transport;
use tramline_core::{Error, ErrorKind};

/// The answer; `None` where it is refused as unsupported, which is the only refusal allowed.
pub(crate) fn offered<A>(answer: Result<A, Error>) -> Option<A> {
    match answer {
        Ok(answer) => Some(answer),
        Err(error) if error.kind() == ErrorKind::Unsupported => None,
        Err(error) => panic!("expected an answer or Unsupported, got: {error}"),
    }
}

/// What stands in `queue`, if the transport can look without taking.
pub(crate) async fn peek<T: Transport>(scene: &Scene<T>, queue: &QueueRef) -> Option<Vec<Peeked>> {
    const ALL: u32 = 1_000;
    let peeked = match scene.transport.operate() {
        Some(operator) => offered(operator.peek(queue, None, ALL).await),
        None => None,
    };
    let declared = scene.can(queue.name().as_str()).peek.is_native();
    assert_eq!(peeked.is_some(), declared, "`peek` is offered if the capability says so");
    peeked
}

/// The dead letters of `queue`, if the transport can look without taking.
pub(crate) async fn peek_dead<T: Transport>(scene: &Scene<T>, queue: &str) -> Option<Vec<Peeked>> {
    peek(scene, &QueueRef::Dead(queue_name(queue))).await
}

/// The ids of what was peeked.
pub(crate) fn peeked_ids(peeked: &[Peeked]) -> Vec<String> {
    let ids = peeked.iter().filter_map(|peeked| peeked.envelope.id.as_ref());
    ids.map(ToString::to_string).collect()
}

/// How full a queue must be.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Expected {
    pub(crate) ready: u64,
    pub(crate) leased: u64,
    pub(crate) delayed: u64,
    pub(crate) dead: u64,
}

/// Asserts that every figure that the transport claims to know about `queue` is right: at once, or
/// soon where settlements are not answered.
pub(crate) async fn assert_depth<T: Transport>(
    scene: &Scene<T>,
    queue: &str,
    expected: Expected,
    when: &str,
) {
    let began = now();
    loop {
        let Some((depth, right)) = depth_beside(scene, queue, expected).await else {
            return;
        };
        let may_lag = scene.settles_unheard && now() < began.after(scene.patience);
        if depth != right && may_lag {
            tokio::task::yield_now().await;
            continue;
        }
        return assert_eq!(depth, right, "the depth of {queue} {when}");
    }
}

/// The depth as the transport says it, and as it should be in the figures that it knows.
async fn depth_beside<T: Transport>(
    scene: &Scene<T>,
    queue: &str,
    expected: Expected,
) -> Option<(Depth, Depth)> {
    let depth = offered(scene.transport.operate()?.depth(&queue_name(queue)).await)?;
    let known = |figure: Figure, expected: u64| match figure {
        Figure::Known(_) => Figure::Known(expected),
        unknown => unknown,
    };
    let right = Depth {
        ready: known(depth.ready, expected.ready),
        leased: known(depth.leased, expected.leased),
        delayed: known(depth.delayed, expected.delayed),
        dead: known(depth.dead, expected.dead),
    };
    Some((depth, right))
}

/// Looks at the dead letters of `queue` until there are as many as `count`: those that the broker
/// itself makes may come a moment after what they are made for. `None` where nobody can look.
pub(crate) async fn dead_at_last<T: Transport>(
    scene: &Scene<T>,
    queue: &str,
    count: usize,
) -> Option<Vec<Peeked>> {
    let looking = async {
        loop {
            match peek_dead(scene, queue).await {
                Some(dead) if dead.len() < count => tokio::task::yield_now().await,
                dead => return dead,
            }
        }
    };
    let what = format!("{count} dead letters of {queue} to be looked at");
    within(scene.patience, &what, looking).await
}
