//! The broker, and queues of one's own on it.

use crate::Result;
use lapin::options::{
    ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};

/// Where it is: the server of `cargo xtask services`, unless the environment names another.
pub(crate) fn url() -> Result<String> {
    Ok(tramline_services::rabbitmq::shared_url()?)
}

/// A connection of the client library, without anything of ours.
pub(crate) async fn connect() -> Result<Connection> {
    // What stands behind the question mark is for us alone.
    let url = url()?;
    let url = url.split('?').next().unwrap_or_default();
    Ok(Connection::connect(url, ConnectionProperties::default()).await?)
}

/// A channel on which everything is confirmed.
pub(crate) async fn confirming(connection: &Connection) -> Result<Channel> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// Everything that a run may have left behind is gone, and `queue` is there for the twin: quorum,
/// as ours are.
pub(crate) async fn fresh(connection: &Connection, queue: &str) -> Result<()> {
    let channel = connection.create_channel().await?;
    for queue in [queue.to_owned(), format!("{queue}-dlq")] {
        channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
    }
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), durable, arguments).await?;
    Ok(())
}

/// As [`fresh`], with no queue: ours declares its own.
pub(crate) async fn gone(connection: &Connection, queue: &str) -> Result<()> {
    fresh(connection, queue).await?;
    let channel = connection.create_channel().await?;
    channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
    Ok(())
}

/// What a run leaves in `queue` must not slow the next one down.
pub(crate) async fn purge(connection: &Connection, queue: &str) -> Result<()> {
    let channel = connection.create_channel().await?;
    channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await?;
    Ok(())
}
