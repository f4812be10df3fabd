//! A filter that the transport calls native is applied by it, with the meaning that it has in
//! [`tramline_core::filter`]; any other lets everything through, for the engine to filter.

use crate::TransportHarness;
use crate::kit::consumer::{ack, id_of};
use crate::kit::message::{message, to_queue, to_topic};
use crate::kit::scene::{Scene, WORK};
use crate::kit::topology::{queues, subscribed};
use bytes::Bytes;
use tramline_core::capabilities::FilterSupport;
use tramline_core::envelope::Envelope;
use tramline_core::filter::Filter;
use tramline_core::headers::{HeaderValue, Headers};
use tramline_core::topology::{Rule, Topology};
use tramline_core::transport::Transport;

/// One published message, and whether the filter lets it through.
struct Published {
    passes: bool,
    subject: &'static str,
    headers: Headers,
    body: &'static str,
}

/// Whether the transport itself applies `rule`.
fn is_applied(can: FilterSupport, rule: &Rule) -> bool {
    let by_subject = rule.subject == "#" || can.subject.is_native();
    by_subject && can.of(&rule.filter).is_native()
}

/// The last message of every scenario is sent straight to the queue.
const END: &str = "end";

pub async fn a_subscription_without_a_filter_gets_everything<H: TransportHarness>(harness: H) {
    let published =
        [subject(true, "orders.placed"), subject(true, "orders"), subject(true, "x.y.z")];
    assert_filters(harness, Rule::subject("#"), published).await;
}

pub async fn a_rule_compares_the_words_of_its_subject<H: TransportHarness>(harness: H) {
    let published = [
        subject(true, "orders.placed"),
        subject(false, "orders"),
        subject(false, "orders.placed.eu"),
        subject(false, "payments.placed"),
        subject(true, "orders.cancelled"),
    ];
    assert_filters(harness, Rule::subject("orders.*"), published).await;
}

pub async fn a_subject_filter_compares_words_and_any_number_of_them<H: TransportHarness>(
    harness: H,
) {
    let published = [
        subject(true, "orders.eu"),
        subject(false, "orders.placed.us"),
        subject(true, "orders.placed.express.eu"),
        subject(false, "eu"),
    ];
    let rule = everything(Filter::subject("orders.#.eu"));
    assert_filters(harness, rule, published).await;
}

pub async fn a_filter_for_all_of_some_headers_compares_values_and_types<H: TransportHarness>(
    harness: H,
) {
    let gold = HeaderValue::from("gold");
    let published = [
        headers(true, [("tier", gold.clone()), ("level", HeaderValue::Int(7))]),
        headers(false, [("tier", gold.clone())]),
        headers(false, [("tier", gold.clone()), ("level", HeaderValue::from("7"))]),
        headers(false, [("tier", HeaderValue::from("Gold")), ("level", HeaderValue::Int(7))]),
    ];
    let wanted = [("tier", gold), ("level", HeaderValue::Int(7))];
    let rule = everything(Filter::headers_all(wanted));
    assert_filters(harness, rule, published).await;
}

pub async fn a_filter_for_any_of_some_headers_takes_one_of_them<H: TransportHarness>(harness: H) {
    let published = [
        headers(true, [("region", "eu".into()), ("express", HeaderValue::Bool(false))]),
        headers(false, [("region", "us".into()), ("express", HeaderValue::Bool(false))]),
        headers(true, [("region", "us".into()), ("express", HeaderValue::Bool(true))]),
        headers(false, []),
    ];
    let wanted = [("region", "eu".into()), ("express", HeaderValue::Bool(true))];
    let rule = everything(Filter::headers_any(wanted));
    assert_filters(harness, rule, published).await;
}

pub async fn a_filter_for_all_of_some_headers_compares_text_and_booleans<H: TransportHarness>(
    harness: H,
) {
    let published = [
        headers(true, [("region", "eu".into()), ("express", HeaderValue::Bool(true))]),
        headers(false, [("region", "eu".into())]),
        headers(false, [("region", "eu".into()), ("express", HeaderValue::Bool(false))]),
        headers(false, [("region", "eu".into()), ("express", "true".into())]),
        headers(false, [("region", "EU".into()), ("express", HeaderValue::Bool(true))]),
    ];
    let wanted = [("region", "eu".into()), ("express", HeaderValue::Bool(true))];
    let rule = everything(Filter::headers_all(wanted));
    assert_filters(harness, rule, published).await;
}

/// The headers exchange of AMQP ignores such names, and is not told of them.
pub async fn headers_that_begin_with_x_are_headers_like_all_others<H: TransportHarness>(
    harness: H,
) {
    let published = [
        headers(true, [("x-region", "eu".into()), ("tier", "gold".into())]),
        headers(false, [("x-region", "us".into()), ("tier", "gold".into())]),
        headers(false, [("tier", "gold".into())]),
    ];
    let wanted: [(&str, HeaderValue); 2] = [("x-region", "eu".into()), ("tier", "gold".into())];
    let rule = everything(Filter::headers_all(wanted));
    assert_filters(harness, rule, published).await;
}

/// A subject and a filter are asked both, of each rule by itself.
pub async fn rules_with_subjects_and_headers_are_kept_apart<H: TransportHarness>(harness: H) {
    let published = [
        Published { subject: "orders.placed", ..headers(true, [("region", "eu".into())]) },
        Published { subject: "orders.placed", ..headers(false, [("region", "us".into())]) },
        Published { subject: "orders.cancelled", ..headers(false, [("region", "eu".into())]) },
        Published { subject: "orders.cancelled", ..headers(true, [("region", "us".into())]) },
    ];
    let rule = |subject: &str, region: &str| Rule {
        subject: subject.to_owned(),
        filter: Filter::headers_all([("region", region)]),
    };
    let rules = [rule("orders.placed", "eu"), rule("orders.cancelled", "us")];
    let topology = subscribed(queues([WORK]), WORK, "orders", rules.clone());
    let scene = Scene::with(&harness, topology).await;
    assert_passing(&scene, &rules[0], &published).await;
}

/// `999.99` is more than `1000` as text: decimals that travel as text must compare as numbers.
pub async fn a_sql_filter_compares_promoted_fields_as_numbers<H: TransportHarness>(harness: H) {
    let order = |passes, total: HeaderValue, status: &str| {
        headers(passes, [("total", total), ("status", HeaderValue::from(status))])
    };
    let published = [
        order(true, HeaderValue::from("1000.01"), "Created"),
        order(false, HeaderValue::from("999.99"), "Created"),
        order(false, HeaderValue::from("1000.00"), "Created"),
        order(true, HeaderValue::Int(20_000), "Created"),
        order(true, HeaderValue::Float(1000.5), "Created"),
        order(false, HeaderValue::from("5000"), "Paid"),
        headers(false, [("status", HeaderValue::from("Created"))]),
    ];
    let rule = everything(Filter::sql("total > 1000 AND status = 'Created'"));
    assert_filters(harness, rule, published).await;
}

pub async fn a_sql_filter_reads_fields_of_the_body_behind_headers<H: TransportHarness>(harness: H) {
    let body = |passes, body| Published { body, ..subject(passes, "orders.placed") };
    let published = [
        body(true, r#"{"total": "1200.50", "lines": [{"total": 1}]}"#),
        body(false, r#"{"total": "999.99"}"#),
        body(true, r#"{"total": 1001}"#),
        body(false, r#"{"order": {"total": 5000}}"#),
        body(false, "not json"),
        // A header of that name wins over the field.
        Published {
            body: r#"{"total": 5000}"#,
            ..headers(false, [("total", HeaderValue::Int(1))])
        },
    ];
    let rule = everything(Filter::sql("total > 1000"));
    assert_filters(harness, rule, published).await;
}

pub async fn the_rules_that_were_declared_last_hold<H: TransportHarness>(harness: H) {
    let with = |rule: Rule| subscribed(queues([WORK]), WORK, "orders", [rule]);
    let mut scene = Scene::with(&harness, with(Rule::subject("orders.placed"))).await;
    let last = Rule::subject("orders.cancelled");
    scene.declare(with(last.clone())).await;
    let published = [subject(false, "orders.placed"), subject(true, "orders.cancelled")];
    assert_passing(&scene, &last, &published).await;
}

fn subject(passes: bool, subject: &'static str) -> Published {
    Published { passes, subject, headers: Headers::new(), body: "{}" }
}

fn headers<const N: usize>(passes: bool, headers: [(&str, HeaderValue); N]) -> Published {
    Published { headers: Headers::from_iter(headers), ..subject(passes, "orders.placed") }
}

fn everything(filter: Filter) -> Rule {
    Rule { subject: "#".to_owned(), filter }
}

async fn assert_filters<H: TransportHarness, const N: usize>(
    harness: H,
    rule: Rule,
    published: [Published; N],
) {
    let topology: Topology = subscribed(queues([WORK]), WORK, "orders", [rule.clone()]);
    let scene = Scene::with(&harness, topology).await;
    assert_passing(&scene, &rule, &published).await;
}

/// Publishes everything, and asserts that what arrives is what the transport says of `rule`.
async fn assert_passing<T: Transport>(scene: &Scene<T>, rule: &Rule, published: &[Published]) {
    let filtered = is_applied(scene.can(WORK).filters, rule);
    let mut expected = Vec::new();
    for (number, published) in published.iter().enumerate() {
        let id = format!("m{number}");
        let envelope = Envelope {
            headers: published.headers.clone(),
            body: Bytes::from_static(published.body.as_bytes()),
            ..message(&id)
        };
        scene.send(to_topic("orders", published.subject, envelope)).await;
        if published.passes || !filtered {
            expected.push(id);
        }
    }
    scene.send(to_queue(WORK, message(END))).await;

    let mut arrived = Vec::new();
    let mut consumer = scene.consumer(WORK, 1).await;
    // One more than was published is enough to see that something comes twice.
    while arrived.len() <= published.len() {
        let delivery = consumer.next().await;
        let id = id_of(&delivery);
        ack(delivery).await;
        if id == END {
            break;
        }
        arrived.push(id);
    }
    assert_eq!(arrived, expected, "which messages the subscription got");
}
