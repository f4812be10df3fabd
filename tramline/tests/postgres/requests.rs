//! Requests over a real PostgreSQL.

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tramline::request::{FailureKind, Request, RequestError};
use tramline::{Bus, Endpoint, Failure, Message};
use tramline_services::testing::{Database, PATIENCE};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_several_processes_get_each_their_own_replies() {
    let Some(database) = Database::fresh() else { return };
    let connect = || Bus::connect(database.url.as_str());
    let math = Endpoint::new("math").respond(double);
    let responder = connect().await.unwrap().endpoint(math).start().await.unwrap();
    let requesters = [
        connect().await.unwrap().start().await.unwrap(),
        connect().await.unwrap().start().await.unwrap(),
    ];
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
    let replies = "SELECT count(*)::text FROM tramline.queue WHERE name LIKE 'tramline-replies%'";
    assert_eq!(database.sql(replies), [[Some("2".to_owned())]]);
    for bus in requesters.into_iter().chain([responder]) {
        let _drained = bus.drain(PATIENCE).await.unwrap();
    }
    assert_eq!(database.sql(replies), [[Some("0".to_owned())]], "gone with who asked");
}
