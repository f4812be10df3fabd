//! Whoever declares at the same time, and whoever dies while declaring: the last declaration holds.

use crate::cutter::Cutter;
use crate::kit::{Connect, Vhost};
use crate::topologies::{assert_says, queue, refused, shown, spec, subscribed};
use futures_util::StreamExt;
use lapin::options::BasicConsumeOptions;
use lapin::types::FieldTable;
use tramline_core::ErrorKind;
use tramline_core::filter::Filter;
use tramline_core::name::QueueName;
use tramline_core::operate::Operate;
use tramline_core::topology::{QueueSpec, Rule, Topology};
use tramline_core::transport::Transport;
use tramline_rabbitmq::RabbitMq;

/// The rules of one version of a program: a plain one, and one with an exchange of its own.
fn version(name: &str) -> Topology {
    let gold = Filter::headers_all([("tier", name)]);
    let filtered = Rule { filter: gold, ..Rule::subject(format!("{name}.filtered")) };
    subscribed([Rule::subject(format!("{name}.#")), filtered])
}

/// What leads to the queue, which must be as one version has asked.
fn bound(vhost: &Vhost) -> Vec<String> {
    let is_subscription = |known: &String| known.contains("→ work") && !known.contains("(work)");
    vhost.bindings().into_iter().filter(is_subscription).collect()
}

fn bindings_of(version: &str) -> Vec<String> {
    let between = format!("tramline.headers:orders:{version}.filtered");
    vec![
        format!("orders → work ({version}.#)"),
        format!(r#"{between} → work () {{"tier":"{version}","x-match":"all"}}"#),
    ]
}

#[tokio::test]
async fn of_versions_that_declare_at_once_one_holds_as_a_whole() {
    let Some(vhost) = Vhost::fresh() else { return };
    let versions = ["a", "b", "c", "d"];
    let declare = async |version_name: &&str| {
        let broker = vhost.connect().await;
        for _ in 0..5 {
            broker.declare(&version(version_name)).await.unwrap();
        }
    };
    futures_util::future::join_all(versions.iter().map(declare)).await;
    let holds = bound(&vhost);
    assert!(versions.iter().any(|name| holds == bindings_of(name)), "{holds:#?}");
}

/// The process that declares dies before each word that it would say to the broker.
#[tokio::test]
async fn wherever_a_process_dies_the_next_declaration_puts_everything_right() {
    let Some(vhost) = Vhost::fresh() else { return };
    let healthy = vhost.connect().await;
    let with_mail = |mut topology: Topology| {
        topology.queues.push(QueueSpec::new(QueueName::foreign("mail")));
        topology
    };
    let mut deaths = 0;
    for frames in 0.. {
        healthy.declare(&version("old")).await.unwrap();
        let cutter = Cutter::before(&vhost).await;
        let dying = RabbitMq::connect(&cutter.url).await.unwrap();
        cutter.cut_after(frames);
        let new = with_mail(version("new"));
        let died = tokio::select! {
            done = dying.declare(&new) => {
                done.unwrap();
                false
            }
            () = cutter.has_cut() => true,
        };
        drop((dying, cutter));
        healthy.declare(&version("next")).await.unwrap();
        assert_eq!(bound(&vhost), bindings_of("next"), "after a death before frame {frames}");
        if !died {
            break;
        }
        deaths += 1;
    }
    assert!(deaths > 30, "only {deaths} words were said");
    // One record is left, whatever the dead have left.
    let is_one = || (vhost.queue("tramline.registry")["messages"] == 1).then_some(());
    shown("one message in the registry", is_one).await;
}

#[tokio::test]
async fn who_has_the_record_for_too_long_is_told_of_and_keeps_nobody_for_ever() {
    let Some(vhost) = Vhost::fresh() else { return };
    // A host that is gone is noticed after two heartbeats.
    let broker = RabbitMq::connect(&vhost.url_with("heartbeat", "1")).await.unwrap();
    broker.declare(&queue(spec())).await.unwrap();
    let raw = vhost.raw().await;
    let consumer = raw.channel.basic_consume(
        "tramline.registry".into(),
        "hanging".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let mut consumer = consumer.await.unwrap();
    let held = consumer.next().await.unwrap().unwrap();
    let error = refused(&broker, &queue(spec())).await;
    assert_says(&error, ErrorKind::TimedOut, &["who consumes queue tramline.registry"]);
    drop((held, consumer));
    raw.connection.close(200, "done".into()).await.unwrap();
    broker.declare(&queue(spec())).await.unwrap();
}

/// Whoever looks into a vhost where nothing was declared has nothing to write, and leaves nothing of
/// its own; nor does who is refused again and again.
#[tokio::test]
async fn who_only_asks_leaves_nothing_behind() {
    let Some(vhost) = Vhost::fresh() else { return };
    let broker = vhost.connect().await;
    let refused_name = QueueSpec::new(QueueName::foreign("amq.reserved"));
    for _ in 0..5 {
        assert_eq!(broker.queues().await.unwrap(), []);
        refused(&broker, &queue(refused_name.clone())).await;
    }
    let is_one = || (vhost.queue("tramline.registry")["messages"] == 1).then_some(());
    shown("one knock in the registry", is_one).await;
    // Nobody is kept waiting by that, however many come at once.
    let others: Vec<RabbitMq> = vec![vhost.connect().await, vhost.connect().await];
    let ask = async |broker: &RabbitMq| broker.queues().await.unwrap();
    let asked = futures_util::future::join_all(others.iter().chain([&broker]).map(ask)).await;
    assert_eq!(asked, vec![Vec::<QueueName>::new(); 3]);
    broker.declare(&queue(spec())).await.unwrap();
    assert_eq!(broker.queues().await.unwrap(), [spec().name]);
    shown("the record alone", is_one).await;
}

#[tokio::test]
async fn a_record_that_nobody_of_us_has_written_is_named() {
    let Some(vhost) = Vhost::fresh() else { return };
    let broker = vhost.connect().await;
    broker.declare(&queue(spec())).await.unwrap();
    let raw = vhost.raw().await;
    for (body, kind, words) in [
        (r#"{"form":1000,"generation":99}"#, ErrorKind::Outdated, "a newer program"),
        ("nonsense", ErrorKind::Corrupt, "purge the queue to begin it anew"),
    ] {
        let properties = lapin::BasicProperties::default().with_type("tramline.registry".into());
        let sent = raw.channel.basic_publish(
            "".into(),
            "tramline.registry".into(),
            lapin::options::BasicPublishOptions::default(),
            body.as_bytes(),
            properties,
        );
        drop(sent.await.unwrap());
        let ready = || (vhost.queue("tramline.registry")["messages_ready"] == 2).then_some(());
        shown("the message in the registry", ready).await;
        let error = refused(&broker, &queue(spec())).await;
        assert_says(&error, kind, &["tramline.registry", words]);
        let purged = raw.channel.queue_purge("tramline.registry".into(), Default::default());
        purged.await.unwrap();
        broker.declare(&queue(spec())).await.unwrap();
    }
}
