//! What plain SQL sends is handled by a bus, on the same database or elsewhere.

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tramline::{Bus, Endpoint, Failure, Memory, Message, MessageId, Postgres, State};
use tramline_services::testing::{Database, PATIENCE};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct OrderPlaced {
    order_id: i64,
}

impl Message for OrderPlaced {
    const NAME: &'static str = "orders.placed";
}

/// Which endpoint has handled what, and under which id.
type Seen = (&'static str, i64, MessageId);

async fn mail(
    order: OrderPlaced,
    id: MessageId,
    State(seen): State<mpsc::Sender<Seen>>,
) -> Result<(), Failure> {
    Ok(seen.send(("mail", order.order_id, id)).await?)
}

async fn count(
    order: OrderPlaced,
    id: MessageId,
    State(seen): State<mpsc::Sender<Seen>>,
) -> Result<(), Failure> {
    Ok(seen.send(("count", order.order_id, id)).await?)
}

struct Shop {
    database: Database,
    seen: mpsc::Receiver<Seen>,
    _bus: Bus,
}

impl Shop {
    /// A shop with a table of orders. Its bus is in the same database, or elsewhere.
    async fn open(database: Database, elsewhere: bool) -> Self {
        let store = Postgres::connect(database.url.as_str()).await.unwrap();
        database.sql("CREATE TABLE orders (id bigint PRIMARY KEY)");
        let (sender, seen) = mpsc::channel(100);
        let mail = Endpoint::new("mail").handle(mail);
        let count = Endpoint::new("count").subscribe::<OrderPlaced>().handle(count);
        let bus = if elsewhere {
            let bus = Bus::builder(Memory::new()).state(sender).store(store);
            bus.endpoint(mail).endpoint(count).start().await.unwrap()
        } else {
            let bus = Bus::builder(store.clone()).state(sender).store(store);
            bus.endpoint(mail).endpoint(count).start().await.unwrap()
        };
        Self { database, seen, _bus: bus }
    }

    /// What is handled next: by which endpoint, of which order, under which id.
    async fn next(&mut self) -> (&'static str, i64, String) {
        let seen = timeout(PATIENCE, self.seen.recv()).await.expect("nothing arrives");
        let (endpoint, order_id, id) = seen.expect("the bus is gone");
        (endpoint, order_id, id.to_string())
    }
}

async fn on_both(test: impl AsyncFn(Shop)) {
    for elsewhere in [false, true] {
        let Some(database) = Database::fresh() else { return };
        test(Shop::open(database, elsewhere).await).await;
    }
}

#[tokio::test]
async fn a_command_of_a_trigger_is_handled_if_its_transaction_commits_and_only_then() {
    on_both(async |mut shop| {
        shop.database.sql(
            "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 PERFORM tramline.send('mail', json_build_object('order_id', new.id)::jsonb,
                     name => 'orders.placed', id => 'order ' || new.id);
                 RETURN NULL; END $$;
             CREATE TRIGGER tell AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION tell()",
        );
        shop.database.sql("BEGIN; INSERT INTO orders VALUES (1); ROLLBACK");
        shop.database.sql("BEGIN; INSERT INTO orders VALUES (2), (3); COMMIT");
        let mut seen = [shop.next().await, shop.next().await];
        seen.sort();
        let order = |n: i64| ("mail", n, format!("order {n}"));
        assert_eq!(seen, [order(2), order(3)]);
    })
    .await;
}

#[tokio::test]
async fn an_event_from_sql_reaches_those_who_have_subscribed_to_it() {
    on_both(async |mut shop| {
        let publish =
            |n: i64| format!(r#"SELECT tramline.publish('orders.placed', '{{"order_id": {n}}}')"#);
        shop.database.sql(&format!("BEGIN; {}; ROLLBACK", publish(1)));
        let id = shop.database.sql(&publish(2))[0][0].clone().unwrap();
        assert_eq!(shop.next().await, ("count", 2, id));
    })
    .await;
}
