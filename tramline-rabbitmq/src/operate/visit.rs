//! All dead letters are shown, in one browser: each look from the head on would take all before it again.

use super::browse::Browser;
use super::operate::shown;
use crate::rabbitmq::RabbitMq;
use tokio::time::{Instant, timeout_at};
use tramline_core::name::{QueueName, QueueRef};
use tramline_core::operate::{DeadVisitor, Paging, Peeked};
use tramline_core::{Error, ErrorKind, Result};

impl RabbitMq {
    /// Those that are there now: what dies meanwhile stands behind them.
    pub(super) async fn show_dead(
        &self,
        queue: &QueueName,
        visitor: &mut dyn DeadVisitor,
    ) -> Result<u64> {
        let end = Instant::now() + self.shared.options.hold_max;
        let browser = self.browse(&QueueRef::Dead(queue.clone())).await?;
        let mut browser = browser.only_what_stands_there();
        let shown = show(&mut browser, visitor, end, queue).await;
        let back = browser.give_back().await;
        let count = shown?;
        back.map(|()| count)
    }
}

async fn show(
    browser: &mut Browser,
    visitor: &mut dyn DeadVisitor,
    end: Instant,
    queue: &QueueName,
) -> Result<u64> {
    let (mut paging, mut count) = (Paging::new(), 0);
    loop {
        let page = browser.page(paging.next()).await?;
        if page.is_empty() {
            return Ok(count);
        }
        let places = count + 1..;
        let page: Vec<Peeked> =
            places.zip(page).map(|(place, taken)| shown(place, taken)).collect();
        count += page.len() as u64;
        paging.heard(&page);
        let Ok(visited) = timeout_at(end, visitor.visit(page)).await else {
            let doing = format!("show all dead letters of queue {queue} in one go");
            return Err(Error::new(ErrorKind::TimedOut, doing).because(
                "whoever looks at them took longer than `hold_max`, and the broker takes back what \
                 is held for much longer",
            ));
        };
        visited?;
    }
}
