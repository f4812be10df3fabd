//! Schedules that are fired, cancelled and replaced by several processes at the same time.

use crate::kit::{begin, bodies, column, open, opened, put, within};
use crate::planning::{cancel, due, outgoing, schedule};
use tokio::task::JoinSet;
use tramline_core::compose::Publishing;
use tramline_core::store::{
    Committed, Condition, Plan, Planned, Refusal, ScheduleState, Schedules, Store,
};
use tramline_postgres::Postgres;

/// What is done to a schedule, and what is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Fired(bool),
    Cancelled(Planned),
    Replaced(Planned),
}

/// A schedule: its state and its token.
type Row = (ScheduleState, i64);

/// What is said, if nobody else does anything meanwhile.
fn say(row: &mut Row, what: Said) -> Said {
    match what {
        Said::Fired(_) => {
            let fires = *row == (ScheduleState::Waits, 1);
            if fires {
                row.0 = ScheduleState::Fired;
            }
            Said::Fired(fires)
        }
        Said::Cancelled(_) => {
            let (planned, state) = ScheduleState::cancelled(Some(row.0));
            row.0 = state;
            Said::Cancelled(planned)
        }
        Said::Replaced(_) => {
            if row.0.is_cancelled() {
                return Said::Replaced(Planned::AlreadyCancelled);
            }
            *row = (ScheduleState::Waits, 2);
            Said::Replaced(Planned::Done)
        }
    }
}

/// Whether it is as if these had happened one after the other, in whatever order.
fn is_one_after_the_other(said: &[Said; 3], end: Row) -> bool {
    const ORDERS: [[usize; 3]; 6] =
        [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    ORDERS.iter().any(|order| {
        let mut row = (ScheduleState::Waits, 1);
        order.iter().all(|nth| say(&mut row, said[*nth]) == said[*nth]) && row == end
    })
}

async fn fire(postgres: Postgres, name: String) -> Said {
    let tx = begin(&postgres, Publishing::Queues).await;
    let committed = postgres.commit(tx, vec![due(&name, 1)], vec![outgoing(&name)]).await;
    match committed.unwrap() {
        Committed::Done => Said::Fired(true),
        refused => {
            assert_eq!(refused, Committed::Refused(vec![(0, Refusal::Changed)]));
            Said::Fired(false)
        }
    }
}

async fn plan(postgres: Postgres, plan: Plan) -> Planned {
    Schedules::plan(&postgres, vec![plan]).await.unwrap()[0]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn firing_cancelling_and_replacing_at_once_are_answered_as_one_after_the_other() {
    const ROUNDS: usize = 300;
    let Some((database, one)) = opened().await else { return };
    let (other, third) = (open(&database).await, open(&database).await);
    let (mut fired, mut cancelled, mut replaced) = (0, 0, 0);
    for round in 0..ROUNDS {
        let name = round.to_string();
        plan(one.clone(), schedule(&name, 1, 10)).await;
        let mut racing = JoinSet::new();
        // Who is first has a good chance.
        for nth in (0..3).map(|nth| (nth + round) % 3) {
            let name = name.clone();
            match nth {
                0 => racing.spawn(fire(one.clone(), name)),
                1 => {
                    let cancelling = plan(other.clone(), cancel(&name));
                    racing.spawn(async { Said::Cancelled(cancelling.await) })
                }
                _ => {
                    let replacing = plan(third.clone(), schedule(&name, 2, 10));
                    racing.spawn(async { Said::Replaced(replacing.await) })
                }
            };
        }
        let mut said = within(racing.join_all()).await;
        said.sort_by_key(|said| match said {
            Said::Fired(_) => 0,
            Said::Cancelled(_) => 1,
            Said::Replaced(_) => 2,
        });
        let said = [said[0], said[1], said[2]];
        let sql = format!(
            "SELECT unnest(ARRAY[state, token]) FROM tramline.schedule WHERE name = '{name}'"
        );
        let end: Vec<i64> =
            column(&database, &sql).iter().map(|number| number.parse().unwrap()).collect();
        let end = (ScheduleState::of(end[0]).unwrap(), end[1]);
        assert!(is_one_after_the_other(&said, end), "{said:?} {end:?}");
        fired += usize::from(said[0] == Said::Fired(true));
        cancelled += usize::from(said[1] == Said::Cancelled(Planned::Cancelled));
        replaced += usize::from(said[2] == Said::Replaced(Planned::Done));
    }
    assert_eq!(bodies(&database, "work").len(), fired, "what has fired has left, and nothing else");
    let counts = [fired, cancelled, replaced];
    assert!(
        counts.iter().all(|count| (1..ROUNDS).contains(count)),
        "each wins and loses: {counts:?}"
    );
}

/// Nobody knows the name before: there is no row that one could wait for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_schedule_and_a_cancellation_that_overtakes_it_the_cancellation_wins() {
    const ROUNDS: usize = 200;
    let Some((database, one)) = opened().await else { return };
    let other = open(&database).await;
    let mut overtaken = 0;
    for round in 0..ROUNDS {
        let name = round.to_string();
        let scheduling = tokio::spawn(plan(one.clone(), schedule(&name, 1, 10)));
        let cancelling = tokio::spawn(plan(other.clone(), cancel(&name)));
        match (within(scheduling).await.unwrap(), within(cancelling).await.unwrap()) {
            (Planned::Done, Planned::Cancelled) => {}
            (Planned::AlreadyCancelled, Planned::NotYetKnown) => overtaken += 1,
            said => panic!("{said:?}"),
        }
    }
    let waiting = column(&database, "SELECT count(*) FROM tramline.schedule WHERE state = 0");
    assert_eq!(waiting, ["0"]);
    assert!((1..ROUNDS).contains(&overtaken), "some do: {overtaken}");
}

/// Else the server would end one of two that wait for each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_in_opposite_orders_do_not_wait_for_each_other() {
    const ROUNDS: i64 = 60;
    const NAMES: i64 = 40;
    let Some((database, one)) = opened().await else { return };
    let mut planning = JoinSet::new();
    for nth in 0..4_i64 {
        let postgres = if nth == 0 { one.clone() } else { open(&database).await };
        planning.spawn(async move {
            for round in 0..ROUNDS {
                let mut names: Vec<i64> = (0..NAMES).collect();
                if nth % 2 == 0 {
                    names.reverse();
                }
                let plans = names.iter().map(|name| schedule(&name.to_string(), 1, 10));
                if nth < 2 {
                    Schedules::plan(&postgres, plans.collect()).await.unwrap();
                    continue;
                }
                let mut tx = begin(&postgres, Publishing::Queues).await;
                put(&mut tx, round * 4 + nth).await;
                let plans = plans.map(Condition::Plan).collect();
                let committed = postgres.commit(tx, plans, Vec::new()).await.unwrap();
                assert_eq!(committed, Committed::Done);
            }
        });
    }
    within(planning.join_all()).await;
    let waiting = column(&database, "SELECT count(*) FROM tramline.schedule WHERE state = 0");
    assert_eq!(waiting, [NAMES.to_string()]);
}

#[tokio::test]
async fn plans_of_one_name_are_carried_out_in_their_order() {
    let Some((database, postgres)) = opened().await else { return };
    let plans = vec![
        schedule("b", 1, 10),
        cancel("b"),
        schedule("a", 2, 10),
        schedule("b", 3, 10),
        schedule("a", 4, 20),
        cancel("c"),
    ];
    let (done, cancelled) = (Planned::Done, Planned::Cancelled);
    let expected = [done, cancelled, done, Planned::AlreadyCancelled, done, Planned::NotYetKnown];
    assert_eq!(Schedules::plan(&postgres, plans).await.unwrap(), expected);
    let rows = "SELECT name || ' ' || token || ' ' || state FROM tramline.schedule ORDER BY 1";
    assert_eq!(column(&database, rows), ["a 4 0", "b 1 2", "c 0 3"]);
}
