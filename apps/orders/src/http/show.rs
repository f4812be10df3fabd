//! `GET /orders/{id}`: how far an order has come. Nothing is remembered for this: the tables say
//! whether it is paid, and the dead letters of `payment` why it never will be.

use super::problem::Problem;
use super::service::Service;
use crate::endpoints;
use crate::order::Order;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use serde::Serialize;
use std::fmt::Display;
use tramline::{MessageId, Result};

/// An order and how far it has come.
#[derive(Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    order: Order,
    #[serde(flatten)]
    stage: Stage,
}

#[derive(Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
enum Stage {
    Placed,
    Paid,
    Rejected { reason: String, error: Option<String> },
}

pub(super) async fn show(
    State(service): State<Service>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Shown>, Problem> {
    let Ok(Path(id)) = path else { return Err(Problem::not_found("there is no such order")) };
    let unknown = || Problem::not_found(format!("there is no order {id}"));
    let order_id = id.parse().map_err(|_| unknown())?;
    let known = service.database.find(order_id).await.map_err(|error| failed(order_id, &error))?;
    let known = known.ok_or_else(unknown)?;
    let stage = if known.is_paid {
        Stage::Paid
    } else {
        unpaid(&service, &known.event_id).await.map_err(|error| failed(order_id, &error))?
    };
    Ok(Json(Shown { order: known.order, stage }))
}

/// Rejected, or still on its way.
async fn unpaid(service: &Service, event_id: &MessageId) -> Result<Stage> {
    let found = service.bus.dead_letters(endpoints::PAYMENT)?.find(event_id).await?;
    Ok(match found.and_then(|letter| letter.death) {
        Some(death) => Stage::Rejected {
            reason: death.reason.to_string(),
            error: death.history.notes().last().map(|note| note.error.clone()),
        },
        None => Stage::Placed,
    })
}

fn failed(order_id: i64, error: &dyn Display) -> Problem {
    tracing::error!(order_id, %error, "an order could not be looked up");
    Problem::unavailable("the order cannot be looked up now")
}
