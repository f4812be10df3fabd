//! The life of the parent process.

use super::open::Opened;
use super::place::place_and_report;
use super::stop_signal::StopSignal;
use crate::cli::{CommandLine, Workers};
use crate::clock::SharedClock;
use crate::data;
use crate::data_dir::DataDir;
use crate::run::Site;
use crate::terminal::{note, say};
use crate::trouble::{Trouble, both};

/// Runs the service as `line` says. Answers whether everything reconciles.
pub(crate) async fn parent(
    line: &CommandLine,
    workers: Workers,
    clock: SharedClock,
) -> Result<bool, Trouble> {
    let mut stopped = StopSignal::listen()?;
    let limit = line.limit.unwrap_or(usize::MAX);
    let orders = match &line.orders {
        Some(file) => data::read_file(file, limit)?,
        None => data::shipped(limit)?,
    };
    let data_dir = DataDir::open(line.data_dir.as_deref(), clock.now())?;
    say(format_args!("data directory: {}", data_dir.path().display()));
    let mut opened = tokio::select! {
        opened = Opened::open(line, workers, &data_dir, clock) => opened?,
        () = stopped.wait() => return Ok(false),
    };
    let site = &mut opened.site;
    let mut ended = tokio::select! {
        ended = place_and_report(line, site, &orders) => ended,
        () = stopped.wait() => {
            note("stopped before the end; the same --data-dir goes on from here");
            opened.close().await?;
            return Ok(false);
        }
    };
    if ended.is_ok() && !line.exit {
        invite(site).await?;
        tokio::select! {
            () = stopped.wait() => {}
            trouble = site.failed() => ended = Err(trouble),
        }
    }
    both(ended, opened.close().await).map(|(is_reconciled, ())| is_reconciled)
}

/// Says what to try now that the service is up.
async fn invite(site: &Site) -> Result<(), Trouble> {
    let known = site.database.orders().await.map_err(Trouble::of)?;
    let order_id = known.iter().map(|known| known.order.order_id).max().unwrap_or(0);
    let (order_id, address) = (order_id.saturating_add(1), site.address);
    say(format_args!(
        "try it, and stop with ctrl-c:\n  \
         curl -i http://{address}/orders -d '{{\"order_id\": {order_id}, \"user_id\": 1, \
         \"date\": \"1998-07-01\", \"units\": 1, \"total\": \"11.77\"}}'\n  \
         curl -i http://{address}/orders/{order_id}"
    ));
    Ok(())
}
