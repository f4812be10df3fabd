//! Whether millions of messages leave anything behind in the tables.

use super::database::{DRAIN, Database, QUEUE};
use super::ours::{publisher, received};
use crate::cli::Arguments;
use crate::completion::Completion;
use crate::load::{call, runtime};
use crate::message::OrderPlaced;
use crate::round::{Amount, Case, Figure, Measured, Run, Series};
use crate::{Result, folder, json, table};
use std::hint::black_box;
use std::rc::Rc;
use tokio_postgres::Client;
use tramline::{Bus, Endpoint};

const MESSAGES: u64 = 5_000_000;
/// So many points are looked at on the way, beside the beginning and the end.
const POINTS: u64 = 20;
const IN_FLIGHT: u64 = 1000;
const CONCURRENCY: usize = 100;

const FIGURES: &[Figure] = &[
    Figure { name: "sent and handled", unit: "msg/s" },
    Figure { name: "tables and indices", unit: "MB" },
    Figure { name: "dead rows", unit: "rows" },
    Figure { name: "server's CPU", unit: "µs/msg" },
];

/// Sends and handles messages through one queue, in parts, and shows the last part beside the first: with
/// nothing else at work, and beside a session that holds an old snapshot.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let messages = arguments.plan.messages.unwrap_or(MESSAGES);
    let database = Database::new()?;
    table::floor(&folder::floor()?);
    let mut rows = Vec::new();
    for (name, is_held) in [("growth", false), ("growth beside an old snapshot", true)] {
        let name = format!("{name}, {messages} messages");
        table::line(&format!("{name}: parts of {}", messages / POINTS));
        let (first, last) = grow(&database, messages, is_held)?;
        let case = case(name);
        let measured = Measured { ours: Series::of(last), twin: Some(Series::of(first)) };
        table::line("");
        table::growth_head("the last part beside the first", "first");
        table::rows(&case, &measured);
        table::line("");
        rows.extend(json::rows("postgres", &case, &measured));
    }
    json::write(arguments.json.as_deref(), &rows)
}

fn case(name: String) -> Case {
    Case {
        name,
        figures: FIGURES,
        amount: Amount::Fixed(1),
        ours: Box::new(|_| Err("it is measured in one piece".into())),
        twin: None,
    }
}

/// The first part and the last.
fn grow(database: &Rc<Database>, messages: u64, is_held: bool) -> Result<(Run, Run)> {
    runtime()?.block_on(async {
        database.prepare().await?;
        let holder = database.connect().await?;
        if is_held {
            let hold = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM tramline.queue";
            holder.batch_execute(hold).await?;
        }
        let client = database.connect().await?;
        let part = (messages / POINTS).max(1);
        let mut parts = Vec::new();
        for nth in 0..POINTS {
            let run = pass(database, &client, part).await?;
            let [rate, size, dead, server] = run.values[..] else { return Err("figures".into()) };
            table::line(&format!(
                "{:>10} messages: {rate:>7.0}/s, {size:>6.1} MB, {dead:>8.0} dead rows, \
                 server's CPU {server:.1} µs/msg",
                (nth + 1) * part
            ));
            parts.push(run);
        }
        let last = parts.pop().ok_or("no part")?;
        Ok((parts.swap_remove(0), last))
    })
}

/// One part: sent, handled and settled.
async fn pass(database: &Database, client: &Client, messages: u64) -> Result<Run> {
    let done = Completion::of(messages);
    let count = done.clone();
    let handler = move |order: OrderPlaced| {
        black_box(&order);
        count.count(order.number());
        std::future::ready(())
    };
    let endpoint = Endpoint::new(QUEUE).subscribe::<OrderPlaced>();
    let endpoint = endpoint.concurrency(CONCURRENCY).handle(handler);
    let sender = publisher(database).await?;
    let receiver: Bus = database.builder().await?.endpoint(endpoint).start().await?;
    let meter = database.meter();
    let through = sender.clone();
    call(IN_FLIGHT, messages, move |number| {
        let bus = through.clone();
        async move { received(bus.publish(&OrderPlaced::new(number)).await?) }
    })
    .await?;
    done.wait().await;
    let _ = receiver.drain(DRAIN).await?;
    let mut run = meter.rate(messages);
    let _ = sender.drain(DRAIN).await?;
    let (size, dead) = size(client).await?;
    run.values.splice(1..1, [size, dead]);
    Ok(run)
}

/// Megabytes of all tables of the bus, and dead rows as far as the server has heard of them.
async fn size(client: &Client) -> Result<(f64, f64)> {
    const SQL: &str = "SELECT sum(pg_total_relation_size(relid))::float8,
            sum(pg_stat_get_dead_tuples(relid))::float8
        FROM pg_stat_user_tables WHERE schemaname = 'tramline'";
    let row = client.query_one(SQL, &[]).await?;
    Ok((row.get::<_, f64>(0) / 1e6, row.get(1)))
}
