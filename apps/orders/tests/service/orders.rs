//! Orders are placed and looked at.

use crate::exchange::{Answer, begin, get, post};
use crate::processes::until;
use crate::program::Folder;
use std::net::SocketAddr;

pub(crate) fn order(order_id: i64, total: &str) -> String {
    format!(
        r#"{{"order_id": {order_id}, "user_id": 1, "date": "1997-01-01", "units": 1,
            "total": {total}}}"#
    )
}

/// The order as soon as it is in `state`.
fn in_state(address: SocketAddr, order_id: i64, state: &str) -> Answer {
    until(&format!("order {order_id} to be {state}"), || {
        let answer = get(address, &format!("/orders/{order_id}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        (answer.text("state") == state).then_some(answer)
    })
}

#[test]
fn an_order_is_accepted_once_paid_or_rejected_and_counts_in_the_next_report() {
    for broker in [&[][..], &["--broker", "memory:"]] {
        let folder = Folder::new();
        let mut service = folder.start(&[broker, &["--limit", "0"]].concat());
        let address = service.address();
        for _ in 0..2 {
            let answer = post(address, order(7, r#""11.77""#));
            assert_eq!(answer.status, 202, "{answer:?}");
            assert_eq!(answer.header("location"), Some("/orders/7"));
        }
        assert_eq!(post(address, order(7, "11.77")).status, 202, "a number is the same total");
        let conflict = post(address, order(7, "11.78"));
        assert_eq!(conflict.status, 409);
        assert!(conflict.text("detail").contains("order 7 was placed before"), "{conflict:?}");
        assert_eq!(in_state(address, 7, "paid").text("total"), "11.77");

        assert_eq!(post(address, order(8, "0")).status, 202);
        let rejected = in_state(address, 8, "rejected");
        assert_eq!(rejected.text("reason"), "permanent", "{rejected:?}");
        assert_eq!(rejected.text("error"), "nothing to charge", "{rejected:?}");

        service.line("try it");
        service.signal("TERM");
        assert_eq!(service.ended().status.code(), Some(0));
        let report = folder.run(&[broker, &["--limit", "0"]].concat());
        assert_eq!((&report["accepted"], &report["charged"]), (&2.into(), &1.into()), "{report}");
        assert_eq!(report["revenue"], "11.77");
    }
}

/// The stock is looked at every second.
#[test]
fn what_is_out_of_stock_is_not_charged() {
    let folder = Folder::new();
    let mut service = folder.start(&["--limit", "0"]);
    let address = service.address();
    let of_units =
        |id, units| order(id, "11.77").replace(r#""units": 1"#, &format!(r#""units": {units}"#));
    for id in 1..=2 {
        assert_eq!(post(address, of_units(id, 999_999)).status, 202);
    }
    let mut id = 2;
    let rejected = until("an order to be rejected", || {
        id += 1;
        assert_eq!(post(address, of_units(id, 1)).status, 202);
        let ended = until("payment to answer", || {
            let answer = get(address, &format!("/orders/{id}"));
            (answer.text("state") != "placed").then_some(answer)
        });
        (ended.text("state") == "rejected").then_some(ended)
    });
    assert!(rejected.text("error").starts_with("out of stock"), "{rejected:?}");
    service.signal("TERM");
    // An order that could be charged is not: its report says so.
    assert_eq!(service.ended().status.code(), Some(1));
}

#[test]
fn more_requests_than_the_bound_are_sent_away_until_there_is_room() {
    const IN_FLIGHT_MAX: usize = 512;
    let folder = Folder::new();
    let mut service = folder.start(&["--limit", "0", "--broker", "memory:"]);
    let address = service.address();
    let begin = || begin(address, "POST", "/orders", 9);
    let mut begun: Vec<_> = (0..IN_FLIGHT_MAX).map(|_| begin()).collect();
    let refused = until("the bound", || {
        // A look that takes the last place may send one of the others away: put another there.
        begun.push(begin());
        Some(get(address, "/orders/1")).filter(|answer| answer.status != 404)
    });
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{refused:?}");
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    drop(begun);
    until("room", || (get(address, "/orders/1").status == 404).then_some(()));
}
