//! Requests over a real broker.

use crate::orders::cut;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tramline::rabbitmq::RabbitMq;
use tramline::request::{FailureKind, Request, RequestError};
use tramline::{Bus, Endpoint, Failure, Message};
use tramline_services::testing::{PATIENCE, Vhost};

#[derive(Serialize, Deserialize)]
struct Double {
    n: u64,
}
impl Message for Double {
    const NAME: &'static str = "math.double";
}
impl Request for Double {
    type Reply = Doubled;
}

#[derive(Serialize, Deserialize)]
struct Doubled {
    n: u64,
}
impl Message for Doubled {
    const NAME: &'static str = "math.doubled";
}

async fn double(request: Double) -> Result<Doubled, Failure> {
    let doubled = request.n.checked_mul(2).ok_or_else(|| Failure::rejected("too large"))?;
    Ok(Doubled { n: doubled })
}

async fn requester(vhost: &Vhost) -> Bus {
    Bus::builder(RabbitMq::connect(vhost.url.as_str()).await.unwrap()).start().await.unwrap()
}

#[tokio::test]
async fn requests_of_several_processes_get_each_their_own_replies() {
    let Some(vhost) = Vhost::fresh() else { return };
    let broker = RabbitMq::connect(vhost.url.as_str()).await.unwrap();
    let math = Endpoint::new("math").respond(double);
    let responder = Bus::builder(broker).endpoint(math).start().await.unwrap();
    let requesters = [requester(&vhost).await, requester(&vhost).await];
    let asked = (0..400_u64).map(async |n| {
        let bus = &requesters[(n % 2) as usize];
        bus.request("math", &Double { n }).ttl(PATIENCE).await.unwrap().n
    });
    let replies = join_all(asked).await;
    assert!((0..).zip(&replies).all(|(n, reply)| *reply == 2 * n), "{replies:?}");
    match requesters[0].request("math", &Double { n: u64::MAX }).ttl(PATIENCE).await {
        Err(RequestError::Failed { failure, .. }) => {
            assert_eq!((failure.kind, &*failure.message), (FailureKind::Rejected, "too large"));
        }
        other => panic!("{:?}", other.map(|doubled| doubled.n)),
    }
    for bus in requesters.into_iter().chain([responder]) {
        let _drained = bus.drain(PATIENCE).await.unwrap();
    }
}

/// The broker gives the queue of replies another name then, and requests have to say that one.
#[tokio::test]
async fn after_a_lost_connection_replies_find_the_requester_again() {
    let Some(vhost) = Vhost::fresh() else { return };
    let broker = RabbitMq::connect(vhost.url.as_str()).await.unwrap();
    let math = Endpoint::new("math").respond(double);
    let responder = Bus::builder(broker).endpoint(math).start().await.unwrap();
    let bus = requester(&vhost).await;
    let ask = async |n| bus.request("math", &Double { n }).ttl(PATIENCE).await;
    assert_eq!(ask(1).await.unwrap().n, 2);
    cut(&vhost, 4).await;
    let mut tries = 0;
    // What is asked while the connection is away may be lost with it, and says so.
    let again = loop {
        tries += 1;
        let asked = bus.request("math", &Double { n: 2 }).ttl(PATIENCE / 20).await;
        match asked {
            Ok(doubled) => break doubled.n,
            Err(error) => assert!(tries < 30, "{error}"),
        }
    };
    assert_eq!(again, 4);
    for bus in [bus, responder] {
        let _drained = bus.drain(PATIENCE).await.unwrap();
    }
}
