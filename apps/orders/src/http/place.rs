//! `POST /orders`: an order and the event that it was placed, in one transaction.

use super::problem::Problem;
use super::service::Service;
use super::{body, written_order};
use crate::database::Placed;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Answers 202 once the order is durable, and again for the same order; 409 for another order under
/// the same id.
pub(super) async fn place(State(service): State<Service>, body: Body) -> Result<Response, Problem> {
    let received_at = service.clock.now();
    let order = written_order::read(&body::read(body).await?)?;
    let placed = service.orders.place(order, received_at).await.map_err(|error| {
        tracing::error!(order = order.order_id, %error, "an order could not be placed");
        // The answer may have been lost on the way: the same request again is safe either way.
        Problem::unavailable("the order may not have been accepted; send it again")
    })?;
    match placed {
        Placed::New | Placed::Again => Ok(accepted(order.order_id)),
        Placed::Differs => {
            let detail = format!("order {} was placed before with other content", order.order_id);
            Err(Problem::new(StatusCode::CONFLICT, detail))
        }
    }
}

fn accepted(order_id: i64) -> Response {
    let location = format!("/orders/{order_id}");
    let body = Json(json!({ "order_id": order_id, "state": "placed" }));
    (StatusCode::ACCEPTED, [(header::LOCATION, location)], body).into_response()
}
