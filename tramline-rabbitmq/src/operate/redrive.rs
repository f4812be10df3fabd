//! Dead letters go back to their queue by confirmed copies.

use super::browse::{Browser, PAGE, Taken};
use crate::rabbitmq::RabbitMq;
use crate::send::RabbitMqSender;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tramline_core::clock::{Clock, Deadline, SystemClock};
use tramline_core::envelope::{Envelope, Text};
use tramline_core::name::{QueueName, QueueRef};
use tramline_core::operate::{Chosen, Pace, Redrive};
use tramline_core::transport::{CopyOf, Destination, Outgoing, Sender, Sent, Transport};
use tramline_core::{Error, ErrorKind, Result};

/// How long the broker may take to confirm the copies of one step.
const SEND_LIMIT: Duration = Duration::from_secs(30);

impl RabbitMq {
    /// Goes through the dead letters that are there now: what dies meanwhile stands behind them, and
    /// is left alone.
    pub(super) async fn put_back_dead(&self, queue: &QueueName, what: Redrive) -> Result<u64> {
        let pace = Pace::new(queue, what.rate, PAGE)?;
        let chosen = Chosen::new(queue, what.selection)?;
        let sender = self.sender().await?;
        let browser = self.browse(&QueueRef::Dead(queue.clone())).await?;
        let mut browser = browser.only_what_stands_there();
        // What goes at once is all that is taken at once, unless others stand in between.
        let all = matches!(chosen, Chosen::All) && !what.dry_run;
        let page_max = if all { pace.at_once as u32 } else { PAGE };
        let (began, mut next, mut count) = (Instant::now(), Instant::now(), 0);
        loop {
            if all && browser.left() > 0 {
                // Nothing is held meanwhile: a redrive may be stopped here.
                tokio::time::sleep_until(next).await;
            }
            let page = browser.page(page_max).await?;
            if page.is_empty() {
                browser.give_back().await?;
                return Ok(count);
            }
            let mut page: Vec<Taken> =
                page.into_iter().filter(|taken| holds(&chosen, taken)).collect();
            if what.dry_run {
                count += page.len() as u64;
                continue;
            }
            while !page.is_empty() {
                let rest = page.split_off(pace.at_once.min(page.len()));
                tokio::time::sleep_until(next).await;
                next = Instant::now() + pace.pause;
                let step = Step { sender: sender.clone(), queue: queue.clone(), page, browser };
                let (back, done) = step.done().await;
                (browser, page) = (back, rest);
                let is_late = !all && began.elapsed() > self.shared.options.hold_max;
                let done = done.map(|redriven| count += redriven);
                let late = || if is_late { Err(held_too_long(queue, count)) } else { Ok(()) };
                if let Err(error) = done.and_then(|()| late()) {
                    // What is not given back here goes back with the channel.
                    if let Err(error) = browser.give_back().await {
                        tracing::debug!(%queue, %error, "dead letters go back a moment later");
                    }
                    return Err(error);
                }
            }
        }
    }
}

/// Copies and their acks.
struct Step {
    sender: RabbitMqSender,
    queue: QueueName,
    page: Vec<Taken>,
    browser: Browser,
}

impl Step {
    /// Goes on when whoever waits for it is gone: a step is taken as a whole, so that a redrive that is
    /// stopped leaves no duplicates.
    async fn done(self) -> (Browser, Result<u64>) {
        let task = tokio::spawn(self.take());
        task.await.expect("a step neither panics nor is aborted")
    }

    async fn take(self) -> (Browser, Result<u64>) {
        let Self { sender, queue, page, mut browser } = self;
        let copies: Vec<Outgoing> = page.iter().map(|taken| as_new(&queue, taken)).collect();
        let deadline = Deadline::after(SystemClock.now(), SEND_LIMIT);
        let answers = sender.send(&copies, deadline).await;
        let mut safe = Vec::with_capacity(page.len());
        let mut failed = None;
        for (taken, answer) in page.iter().zip(answers) {
            match answer {
                Sent::Accepted { .. } => safe.push(taken.tag),
                Sent::Refused(error) | Sent::Unknown(error) => failed = failed.or(Some(error)),
            }
        }
        let acked = browser.ack(&safe).await;
        let done = match (acked, failed) {
            (Err(error), _) | (Ok(()), Some(error)) => Err(error),
            (Ok(()), None) => Ok(safe.len() as u64),
        };
        (browser, done)
    }
}

fn holds(chosen: &Chosen, taken: &Taken) -> bool {
    let received = &taken.incoming.received;
    chosen.holds_message(&received.envelope, received.record.death_record().as_ref())
}

/// The message as new: it does not expire, and comes through no topic. The subject of one without a
/// name is what its handler is found by.
fn as_new(queue: &QueueName, dead: &Taken) -> Outgoing {
    let envelope = &dead.incoming.received.envelope;
    let subject = envelope.via.as_ref().map(|via| Text::Owned(via.subject.to_string()));
    let name = envelope.name.clone().or(subject);
    Outgoing {
        to: Destination::Queue(QueueRef::Main(queue.clone())),
        envelope: Arc::new(Envelope { via: None, expires_at: None, name, ..envelope.clone() }),
        due: None,
        copy: Some(CopyOf::Redrive),
    }
}

fn held_too_long(queue: &QueueName, count: u64) -> Error {
    Error::new(ErrorKind::TimedOut, format!("redrive all dead letters of queue {queue} in one go"))
        .because(format!(
            "{count} were redriven, and the broker takes back what is held for much longer: \
             redrive again for the rest"
        ))
}
