//! A message: a Rust type with a name.

use serde::{Serialize, de::DeserializeOwned};

/// A type that can be published, sent and handled.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tramline_core::Message;
///
/// #[derive(Serialize, Deserialize)]
/// struct OrderPlaced {
///     order_id: u64,
///     total: String,
/// }
///
/// impl Message for OrderPlaced {
///     const NAME: &'static str = "orders.placed";
///     const PROMOTE: &'static [&'static str] = &["total"];
/// }
/// assert_eq!(OrderPlaced::topic(), "orders");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a message",
    note = "derive `Serialize` and `Deserialize`, then `impl Message for {Self} {{ const NAME: … }}`"
)]
pub trait Message: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The name on the wire, and the subject of an event: words joined by dots, such as
    /// `orders.placed`. It outlives the Rust type's name.
    const NAME: &'static str;

    /// The version of the body's layout. Bodies of a newer version than a handler's own are
    /// treated as unknown types.
    const VERSION: u32 = 1;

    /// Top-level fields that are also sent as typed headers, so that brokers can filter on them.
    const PROMOTE: &'static [&'static str] = &[];

    /// The topic that events of this type are published to: the name up to its first dot.
    fn topic() -> &'static str {
        topic_of(Self::NAME)
    }
}

/// The topic of a message called `name`: the name up to its first dot.
pub fn topic_of(name: &str) -> &str {
    name.split_once('.').map_or(name, |(topic, _)| topic)
}
