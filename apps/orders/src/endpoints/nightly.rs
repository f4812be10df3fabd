//! Writes down each night what was charged until then.

use super::light::{NIGHTLY, light};
use crate::database::Tables;
use crate::messages::WriteReport;
use tramline::{Endpoint, Failure, Recurring, Result, Tx};

/// By the clocks of the shop.
const WHEN: &str = "0 3 * * *";
const ZONE: &str = "America/New_York";

pub(super) fn endpoint<S: Tables>() -> Endpoint {
    light(NIGHTLY).handle(write::<S>)
}

/// When it is written: once a night, however many processes there are, and once for nights on which none ran.
pub(super) fn recurring() -> Result<Recurring> {
    Ok(Recurring::cron(WHEN, ZONE)?.to_queue(NIGHTLY))
}

async fn write<S: Tables>(_: WriteReport, mut tx: Tx<S>) -> std::result::Result<(), Failure> {
    S::write_report(&mut tx)
}
