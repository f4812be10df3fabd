//! Takes messages from queues and tells the broker how that ended.
//!
//! - `ledger`: which deliveries are done, and how few acks say so; pure

mod ledger;
