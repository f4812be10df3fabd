//! What a simulation finds, and that it can be trusted when it finds nothing.

use crate::messages::{Order, Paid};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tramline::core::{Error, ErrorKind};
use tramline::testing::faults::Faults;
use tramline::testing::{Aftermath, Scenario, Simulation};
use tramline::{Endpoint, Failure, Memory, Outbox, State, Tx};

const SECOND: Duration = Duration::from_secs(1);

/// How often each order was charged, by the word of the outside world.
#[derive(Clone, Default)]
struct Charges(Arc<Mutex<BTreeMap<u64, u32>>>);

impl Charges {
    fn add(&self, order: u64) {
        *self.0.lock().unwrap().entry(order).or_default() += 1;
    }

    fn check_none_twice(&self) -> Result<(), String> {
        match self.0.lock().unwrap().iter().find(|(_, times)| **times > 1) {
            Some((order, times)) => Err(format!("order {order} was charged {times} times")),
            None => Ok(()),
        }
    }
}

/// Two orders, charged by a handler that does not say which message it does so for.
fn naive() -> Simulation {
    async fn charge(order: Order, State(charges): State<Charges>) {
        charges.add(order.n);
    }
    Simulation::of(|_| {
        let charges = Charges::default();
        let outside = charges.clone();
        Scenario::new(move |life| {
            let payment = Endpoint::new("payment").handle(charge);
            life.bus().state(outside.clone()).endpoint(payment)
        })
        .send("payment", Order { n: 1 })
        .send("payment", Order { n: 2 })
        .always("no order is charged twice", move |_| charges.check_none_twice())
    })
}

#[test]
fn a_double_charge_is_found_with_the_one_fault_that_it_takes() {
    let found = naive().run().unwrap_err();
    assert_eq!(found.invariant(), "no order is charged twice");
    assert_eq!(found.faults(), 1, "{found}");
}

#[test]
fn what_was_found_is_found_again_by_its_seed_alone_to_the_last_word() {
    let found = naive().run().unwrap_err();
    let again = naive().seed(found.seed()).run().unwrap_err();
    assert_eq!(found.to_string(), again.to_string());
    assert!(found.to_string().contains(&format!(".seed({})", found.seed())), "{found}");
}

async fn pay(order: Order, tx: Tx<Memory>, outbox: Outbox) -> Result<(), Failure> {
    outbox.publish(&Paid { n: order.n })?;
    count(&tx, format!("charged {}", order.n))
}

async fn note(paid: Paid, tx: Tx<Memory>) -> Result<(), Failure> {
    count(&tx, format!("noted {}", paid.n))
}

fn count(tx: &Tx<Memory>, what: String) -> Result<(), Failure> {
    tx.write(move |db| {
        let times = db.get::<u32>(&what).unwrap_or_default();
        db.put(what.clone(), times + 1);
        Ok(())
    })
}

/// Two processes do the same: an order is charged, and what it publishes is noted elsewhere.
fn transactional(is_elsewhere: bool) -> Simulation {
    let build = move |life: &tramline::testing::Life| {
        let store = if is_elsewhere { life.elsewhere() } else { life.store() };
        let payment = Endpoint::new("payment").transactional().handle(pay);
        let ledger = Endpoint::new("ledger").subscribe::<Paid>().transactional().handle(note);
        life.bus().store(store).endpoint(payment).endpoint(ledger)
    };
    Simulation::of(move |_| {
        let orders = (1..=3).map(|n| Order { n });
        let scenario = Scenario::new(build).process(build);
        let scenario = orders.fold(scenario, |scenario, order| scenario.send("payment", order));
        scenario.finally("each order is charged and noted once, or dead", move |after| {
            let counts = |db: &tramline::memory::store::Db<'_>| db.entries::<u32>();
            let counts =
                if is_elsewhere { after.read_elsewhere(counts) } else { after.read(counts) };
            let twice = counts.iter().find(|(_, times)| *times != 1);
            let dead: usize =
                ["payment", "ledger"].map(|q| after.dead_letters(q).count()).iter().sum();
            match twice {
                Some((what, times)) => Err(format!("{what}: {times} times")),
                None if counts.len() + 2 * dead < 6 => Err(format!("{counts:?}")),
                None => Ok(()),
            }
        })
    })
}

#[test]
fn transactions_hold_on_the_transports_database_and_on_another() {
    for is_elsewhere in [false, true] {
        let survived = transactional(is_elsewhere).seeds(0..150).run().unwrap();
        assert!(survived.lives > 2 * 150 && survived.faults > 150, "{survived}");
    }
}

#[test]
fn seeds_do_exactly_the_same_whenever_they_run() {
    let [first, second] = [(); 2].map(|()| transactional(true).seeds(0..40).run().unwrap());
    assert_eq!(first, second);
    assert_eq!(transactional(true).seed(7).steps(), transactional(true).seed(7).steps());
    let other = transactional(true).seeds(40..80).run().unwrap();
    assert_ne!(first.fingerprint, other.fingerprint);
}

#[test]
fn a_handler_that_never_ends_is_a_stall() {
    async fn hang(_: Order) {
        std::future::pending::<()>().await;
    }
    let found = Simulation::of(|_| {
        Scenario::new(|life| life.bus().endpoint(Endpoint::new("stuck").handle(hang)))
            .send("stuck", Order { n: 1 })
    });
    let found = found.seeds(0..1).run().unwrap_err();
    assert_eq!((found.invariant(), found.faults()), ("nothing stalls", 0));
    assert!(found.what().contains("queue stuck: 0 ready, 1 at work"), "{found}");
}

#[test]
fn a_process_that_cannot_start_is_told_and_not_tried_for_ever() {
    async fn pay(_: Order, State(_): State<Charges>) {}
    let simulation = Simulation::of(|_| {
        Scenario::new(|life| life.bus().endpoint(Endpoint::new("payment").handle(pay)))
    });
    let found = simulation.run().unwrap_err();
    assert_eq!(found.invariant(), "a process starts");
    assert!(found.what().contains("which is not registered"), "{found}");
}

#[test]
fn what_does_not_happen_again_under_the_same_faults_is_said_to_depend_on_more_than_the_seed() {
    async fn take(_: Order) {}
    let told = |fails: fn(u32) -> bool| {
        let runs = Arc::new(AtomicU32::new(0));
        let simulation = Simulation::of(move |_| {
            let run = runs.fetch_add(1, SeqCst);
            Scenario::new(|life| life.bus().endpoint(Endpoint::new("payment").handle(take)))
                .send("payment", Order { n: 1 })
                .finally("it holds", move |_| match fails(run) {
                    true => Err("it does not".to_owned()),
                    false => Ok(()),
                })
        });
        simulation.seed(0).run().unwrap_err().to_string()
    };
    assert!(told(|run| run == 0).contains("depends on more than the seed"));
    assert!(!told(|_| true).contains("depends on more than the seed"));
}

#[test]
fn an_assertion_in_an_invariant_is_an_answer_that_names_its_seed() {
    async fn take(_: Order) {}
    let simulation = Simulation::of(|_| {
        Scenario::new(|life| life.bus().endpoint(Endpoint::new("orders").handle(take)))
            .send("orders", Order { n: 1 })
            .finally("two are one", |_| {
                assert_eq!(1 + 1, 1, "they are not");
                Ok(())
            })
    });
    let found = simulation.seeds(7..9).run().unwrap_err();
    assert_eq!((found.invariant(), found.seed(), found.faults()), ("two are one", 7, 0));
    assert!(found.what().contains("they are not"), "{found}");
}

#[test]
fn what_is_due_in_a_week_is_no_stall_although_a_relay_looks_every_second() {
    let simulation = Simulation::of(|_| {
        let build = |life: &tramline::testing::Life| {
            let payment = Endpoint::new("payment").transactional().handle(pay);
            life.bus().store(life.elsewhere()).endpoint(payment)
        };
        let week = Duration::from_secs(7 * 24 * 60 * 60);
        Scenario::new(build)
            .send_with("payment", Order { n: 1 }, move |draft| draft.delay(week))
            .finally("it is charged, or dead", |after| {
                let charged = after.read_elsewhere(|db| db.get::<u32>("charged 1"));
                let dead = after.dead_letters("payment").count() > 0;
                if charged == Some(1) || dead { Ok(()) } else { Err(format!("{charged:?}")) }
            })
    });
    simulation.seeds(0..20).run().unwrap();
}

/// Six orders, of which every second fails for good; `key`: what their sender knows them by.
fn half_of_them_die(endpoint: fn() -> Endpoint, key: fn(u64) -> String) -> Simulation {
    async fn fail(order: Order) -> Result<(), Failure> {
        if order.n % 2 == 1 { Err(Failure::permanent("it is odd")) } else { Ok(()) }
    }
    Simulation::of(move |_| {
        let build =
            move |life: &tramline::testing::Life| life.bus().endpoint(endpoint().handle(fail));
        (1..=6).fold(Scenario::new(build), |scenario, n| {
            scenario.send_with("orders", Order { n }, move |draft| draft.idempotency_key(key(n)))
        })
    })
}

#[test]
fn what_a_queue_forgets_or_drops_as_it_was_told_to_is_not_lost() {
    let forgets = || Endpoint::new("orders").keep_dead(5 * SECOND);
    half_of_them_die(forgets, |n| n.to_string()).seeds(0..100).run().unwrap();
    let drops = || Endpoint::new("orders").dedup_window(3600 * SECOND);
    half_of_them_die(drops, |n| (n / 4).to_string()).seeds(0..100).run().unwrap();
}

#[test]
fn fakes_of_the_outside_world_go_wrong_too() {
    async fn charge(
        order: Order,
        State(charges): State<Charges>,
        State(faults): State<Faults>,
    ) -> Result<(), Failure> {
        let once = async {
            let mut charges = charges.0.lock().unwrap();
            charges.entry(order.n).or_insert(1);
        };
        Ok(faults.call("gateway.charge", once).await?)
    }
    let attempts = Arc::new(Mutex::new(0));
    let count = attempts.clone();
    let simulation = Simulation::of(move |_| {
        let (charges, count) = (Charges::default(), count.clone());
        let outside = charges.clone();
        Scenario::new(move |life| {
            let count = count.clone();
            let payment = Endpoint::new("payment").handle(charge).on_failure(move |report| {
                assert!(report.failure.to_string().contains("gateway.charge"));
                *count.lock().unwrap() += 1;
            });
            let bus = life.bus().state(outside.clone()).state(life.faults());
            bus.endpoint(payment)
        })
        .send("payment", Order { n: 1 })
        .finally("it is charged, or dead", move |after: &Aftermath| {
            let charged = !charges.0.lock().unwrap().is_empty();
            let dead = after.dead_letters("payment").count() > 0;
            if charged || dead { Ok(()) } else { Err("it is neither".to_owned()) }
        })
    });
    simulation.seeds(0..300).run().unwrap();
    assert!(*attempts.lock().unwrap() > 0, "no call ever failed");
}

#[test]
fn a_process_that_its_handler_kills_starts_again_and_the_message_comes_again() {
    async fn deadly_once(_: Order, State(runs): State<Charges>, State(faults): State<Faults>) {
        runs.add(1);
        if runs.0.lock().unwrap()[&1] == 1 {
            faults.die().await;
        }
    }
    let simulation = Simulation::of(|_| {
        let runs = Charges::default();
        let outside = runs.clone();
        Scenario::new(move |life| {
            let endpoint = Endpoint::new("deadly").handle(deadly_once);
            life.bus().state(outside.clone()).state(life.faults()).endpoint(endpoint)
        })
        .send("deadly", Order { n: 1 })
        .finally("it runs again", move |_| match runs.0.lock().unwrap()[&1] {
            1 => Err("it ran once".to_owned()),
            _ => Ok(()),
        })
    });
    let survived = simulation.seeds(0..50).run().unwrap();
    assert!(survived.lives >= 2 * 50, "{survived}");
}

#[test]
fn what_an_operator_does_is_done_again_until_it_succeeds() {
    #[derive(Clone, Default)]
    struct Mended(Arc<AtomicBool>);
    async fn charge(_: Order, State(mended): State<Mended>) -> Result<(), Failure> {
        if mended.0.load(SeqCst) { Ok(()) } else { Err(Failure::permanent("it is broken")) }
    }
    let simulation = Simulation::of(|_| {
        let mended = Mended::default();
        let (outside, operator) = (mended.clone(), mended);
        Scenario::new(move |life| {
            let payment = Endpoint::new("payment").handle(charge);
            life.bus().state(outside.clone()).endpoint(payment)
        })
        .send("payment", Order { n: 1 })
        .send("payment", Order { n: 2 })
        .act("redrive", move |bus| {
            let operator = operator.clone();
            async move {
                let letters = bus.dead_letters("payment")?;
                if !operator.0.load(SeqCst) && letters.peek(None, 2).await?.len() < 2 {
                    let doing = "redrive: not all are dead yet";
                    return Err(Error::new(ErrorKind::Unavailable, doing));
                }
                operator.0.store(true, SeqCst);
                letters.redrive_all().await.map(drop)
            }
        })
        .always("nothing is both waiting and dead", |after| {
            let waits = after.queued("payment").into_iter().map(|queued| queued.position);
            let dead: Vec<i64> = after.dead_letters("payment").map(|dead| dead.position).collect();
            let both: Vec<i64> = waits.filter(|position| dead.contains(position)).collect();
            if both.is_empty() { Ok(()) } else { Err(format!("{both:?}")) }
        })
        .finally("nothing is dead any more", |after| {
            match after.dead_letters("payment").next() {
                Some(letter) => Err(format!("{letter:?}")),
                None => Ok(()),
            }
        })
    });
    simulation.seeds(0..200).run().unwrap();
}
