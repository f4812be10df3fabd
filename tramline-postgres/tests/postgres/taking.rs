//! How messages are taken from the head of a queue.

use crate::kit::{column, delivered, opened, put_messages};
use tramline_services::testing::Database;

/// The places that one takes who begins at the second of three messages.
fn taken_from_the_second(database: &Database, change: &str) -> Vec<String> {
    database.sql(change);
    let places = column(database, "SELECT place FROM tramline.message ORDER BY place");
    let taken = column(
        database,
        &format!(
            "SELECT place FROM tramline.take((SELECT id FROM tramline.queue), 10, 1000000, 1, 1,
                 'test', 30000000, NULL, {})",
            places[1]
        ),
    );
    database.sql("DELETE FROM tramline.claim");
    taken
        .iter()
        .map(|place| places.iter().position(|at| at == place).unwrap().to_string())
        .collect()
}

#[tokio::test]
async fn who_knows_the_head_begins_there_unless_the_next_one_may_stand_before_it() {
    let Some((database, postgres)) = opened().await else { return };
    for _ in 0..3 {
        let _ = delivered(&database, &postgres);
    }
    assert_eq!(taken_from_the_second(&database, "SELECT"), ["1", "2"]);
    let ranked = "UPDATE tramline.queue SET priority_max = 9";
    assert_eq!(taken_from_the_second(&database, ranked), ["0", "1", "2"]);
    let ordered = "UPDATE tramline.queue SET priority_max = 0, ordering = 1";
    assert_eq!(taken_from_the_second(&database, ordered), ["0", "1", "2"]);
}

/// It has been taken by somebody else meanwhile.
#[tokio::test]
async fn a_claim_lets_go_of_nothing_that_it_does_not_have() {
    let Some((database, _postgres)) = opened().await else { return };
    put_messages(&database, 2);
    for token in [1, 2] {
        let taken =
            "SELECT count(*) FROM tramline.take((SELECT id FROM tramline.queue), 1, 1000000";
        database.sql(&format!("{taken}, {token}, 1, 'test', 30000000, NULL, NULL)"));
    }
    let state = "SELECT token || ' ' || places[1] || ' ' || epoch FROM tramline.claim
        JOIN tramline.message ON place = places[1] ORDER BY token";
    let before = column(&database, state);
    assert_eq!(before.len(), 2);
    database.sql("SELECT tramline.let_go(1, (SELECT places FROM tramline.claim WHERE token = 2))");
    assert_eq!(column(&database, state), before);
}
