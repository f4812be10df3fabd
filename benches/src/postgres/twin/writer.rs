//! One connection writes for all callers: what waits while one commit is under way is the next.

use super::table::{Table, now, queue};
use crate::Result;
use crate::hand::Letter;
use crate::postgres::database::connect;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::{Client, Statement};

/// What the twin's callers hold.
#[derive(Clone)]
pub(in crate::postgres) struct Writer {
    jobs: mpsc::Sender<Job>,
}

struct Job {
    letter: Letter,
    reply: oneshot::Sender<()>,
}

/// How many messages one commit takes.
const GROUP_MAX: usize = 2000;

impl Writer {
    pub(in crate::postgres) async fn open(url: &str, table: Table) -> Result<Self> {
        let client = connect(url).await?;
        let queue = queue(&client, false).await?;
        let insert = client.prepare(table.insert()).await?;
        let (jobs, waiting) = mpsc::channel(GROUP_MAX);
        tokio::spawn(async move {
            // Its callers are told by what they wait for, which is dropped.
            run(&client, &insert, queue, waiting).await
        });
        Ok(Self { jobs })
    }

    /// Returns when the message is on the disk.
    pub(in crate::postgres) async fn put(&self, letter: Letter) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job { letter, reply }).await.map_err(|_| "the twin's writer has ended")?;
        Ok(answer.await?)
    }
}

async fn run(
    client: &Client,
    insert: &Statement,
    queue: i32,
    mut jobs: mpsc::Receiver<Job>,
) -> Result<()> {
    let mut group = Vec::with_capacity(GROUP_MAX);
    while jobs.recv_many(&mut group, GROUP_MAX).await > 0 {
        let envelopes: Vec<&str> = group.iter().map(|job| &*job.letter.envelope).collect();
        let bodies: Vec<&[u8]> = group.iter().map(|job| &*job.letter.body).collect();
        client.execute(insert, &[&queue, &now(), &envelopes, &bodies]).await?;
        for job in group.drain(..) {
            // Who does not wait any more has ended with an error of its own.
            let _ = job.reply.send(());
        }
    }
    Ok(())
}
