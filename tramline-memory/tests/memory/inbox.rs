//! The inbox decides about messages of one commit as if they came one after the other.

use crate::kit::{SECOND, Scene, message};
use std::sync::Arc;
use tramline_core::clock::Clock;
use tramline_core::compose::Publishing;
use tramline_core::envelope::Envelope;
use tramline_core::store::{Committed, Condition, Refusal, Sighting, Store};

#[tokio::test]
async fn of_two_sightings_in_one_commit_only_the_first_is_admitted() {
    let scene = Scene::new().await;
    let [first, same, reused] =
        [("a", "ten"), ("b", "ten"), ("c", "eleven")].map(|(id, body)| keyed(id, body));
    let refused = commit(&scene, [&first, &same, &reused]).await;
    let expected = vec![(1, Refusal::Duplicate), (2, Refusal::KeyReused)];
    assert_eq!(refused, Committed::Refused(expected));
    assert_eq!(scene.memory.admitted(&[first]).await.unwrap(), [None], "nothing was kept");
}

#[tokio::test]
async fn a_row_is_forgotten_when_it_is_older_than_the_bound_and_not_before() {
    let scene = Scene::new().await;
    for id in ["a", "b"] {
        assert_eq!(commit(&scene, [&keyed(id, "")]).await, Committed::Done);
        let seen = scene.clock.now();
        assert_eq!(scene.memory.prune_inbox("payment", seen, 10).await.unwrap(), 0, "{id}");
        scene.clock.advance(SECOND);
        assert_eq!(
            scene.memory.prune_inbox("payment", scene.clock.now(), 10).await.unwrap(),
            1,
            "{id}"
        );
    }
}

/// A message that its sender has given the key `k`.
fn keyed(id: &str, body: &'static str) -> Sighting {
    let idempotency_key = Some("k".to_owned());
    let envelope = Envelope { idempotency_key, body: body.into(), ..Envelope::default() };
    Sighting::new(&Arc::from("payment"), message(id).envelope.id.as_ref().unwrap(), &envelope)
}

async fn commit<const N: usize>(scene: &Scene, sightings: [&Sighting; N]) -> Committed {
    let tx = scene.memory.begin(scene.scope(Publishing::Queues)).await.unwrap();
    let conditions = sightings.map(|sighting| Condition::Admit(sighting.clone()));
    scene.memory.commit(tx, conditions.into(), Vec::new()).await.unwrap()
}
