//! Both sides of a capability: what is declared is there, what is not is refused.

use super::scene::{Scene, assert_kind};
use super::topology::{one_queue, queues};
use crate::TransportHarness;
use tramline_core::ErrorKind;
use tramline_core::capabilities::Capabilities;
use tramline_core::topology::QueueSpec;
use tramline_core::transport::Transport;

/// Whether a queue of this kind has the capability.
pub(crate) fn supports<T: Transport>(
    transport: &T,
    spec: &QueueSpec,
    capability: fn(&Capabilities) -> bool,
) -> bool {
    capability(&transport.capabilities(spec))
}

/// A scene with `spec`; `None` where the capability is not there and `spec` is rightly refused.
pub(crate) async fn declared_or_refused<H: TransportHarness>(
    harness: &H,
    spec: QueueSpec,
    capability: fn(&Capabilities) -> bool,
) -> Option<Scene<H::Transport>> {
    let mut scene = Scene::with(harness, queues([])).await;
    let supported = supports(&scene.transport, &spec, capability);
    declare_if(&mut scene, spec, supported).await.then_some(scene)
}

/// The same for the order that `spec` asks for.
pub(crate) async fn ordered_or_refused<H: TransportHarness>(
    harness: &H,
    spec: QueueSpec,
) -> Option<Scene<H::Transport>> {
    let mut scene = Scene::with(harness, queues([])).await;
    let kept = scene.transport.capabilities(&spec).ordering >= spec.ordering;
    declare_if(&mut scene, spec, kept).await.then_some(scene)
}

/// The same where the broker itself lets one message of a key out at a time; `None` where that is
/// left to the engine, or the order is rightly refused.
pub(crate) async fn locked_or_refused<H: TransportHarness>(
    harness: &H,
    spec: QueueSpec,
) -> Option<Scene<H::Transport>> {
    let name = spec.name.clone();
    let scene = ordered_or_refused(harness, spec).await?;
    scene.can(name.as_str()).key_lock.is_native().then_some(scene)
}

async fn declare_if<T: Transport>(scene: &mut Scene<T>, spec: QueueSpec, supported: bool) -> bool {
    let topology = one_queue(spec);
    if supported {
        scene.declare(topology).await;
    } else {
        match scene.try_declare(&topology).await {
            Err(error) => {
                assert_kind(&error, ErrorKind::Unsupported);
                let (text, name) = (error.to_string(), topology.queues[0].name.as_str());
                assert!(text.contains(name), "the error must name the queue: {text}");
            }
            Ok(()) => panic!("expected {topology:?} to be refused, for lack of the capability"),
        }
    }
    supported
}
