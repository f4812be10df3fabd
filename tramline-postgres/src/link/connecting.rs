//! One attempt to connect, to each of the servers in turn.

use super::server::place;
use super::target::Target;
use crate::error::{failed, kind, words};
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, poll_fn};
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client, Config};
use tramline_core::{Error, ErrorKind, Result};

/// What the server says without being asked, until the connection ends. Only while this is polled anything
/// moves.
pub(super) type Messages = BoxStream<'static, Result<AsyncMessage, tokio_postgres::Error>>;

/// How long the attempt with one server may take.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);

/// Tries every server once, first the one that was good the last time.
///
/// # Errors
/// Why, if there is one server. Of several it says it for each, and may pass by itself if that holds for one.
pub(super) async fn connect(target: &Target) -> Result<(Client, Messages)> {
    let (count, first) = (target.servers.len(), target.at().index);
    let mut refusals = Vec::new();
    for index in (first..count).chain(0..first) {
        match attempt(target, target.server(index)).await {
            Ok(connected) => {
                target.is_at(index);
                return Ok(connected);
            }
            Err(error) if count == 1 => return Err(error),
            Err(error) => refusals.push((place(target.server(index)), error)),
        }
    }
    let passes = refusals.iter().find(|(_, error)| error.is_transient()).or(refusals.first());
    let kind = passes.map_or(ErrorKind::Unavailable, |(_, error)| error.kind());
    let each: Vec<String> =
        refusals.iter().map(|(place, error)| format!("{place}: {}", because(error))).collect();
    Err(Error::new(kind, doing(target)).because(each.join("; ")))
}

fn doing(target: &Target) -> String {
    format!("connect to {target}")
}

/// An error's cause, without what was being done.
fn because(error: &Error) -> String {
    let text = error.to_string();
    text.split_once(": ").map_or(text.clone(), |(_, why)| why.to_owned())
}

async fn attempt(target: &Target, server: &Config) -> Result<(Client, Messages)> {
    match timeout(ATTEMPT_MAX, server.connect(target.tls.connector.clone())).await {
        Ok(Ok((client, mut connection))) => {
            Ok((client, poll_fn(move |cx| connection.poll_message(cx)).boxed()))
        }
        Ok(Err(error)) => Err(refused(doing(target), &error)),
        Err(_) => {
            let why = format!("no answer within {} s", ATTEMPT_MAX.as_secs());
            Err(Error::new(ErrorKind::Unavailable, doing(target)).because(why))
        }
    }
}

/// Why there is no connection, with what to do about it.
fn refused(doing: String, error: &tokio_postgres::Error) -> Error {
    let misconfigured = |why| Error::new(ErrorKind::Misconfigured, doing.clone()).because(why);
    if let Some(what_to_do) = about_tls(error) {
        return misconfigured(format!("{}; {what_to_do}", words(error)));
    }
    let is_local =
        |what: &&str| error.as_db_error().is_none() && error.to_string().starts_with(*what);
    if ["invalid configuration", "authentication error"].iter().any(is_local) {
        return misconfigured(words(error));
    }
    match kind(error) {
        // Nothing was asked yet, so nothing of what was asked is wrong.
        ErrorKind::Refused => misconfigured(words(error)),
        _ => failed(doing, error),
    }
}

/// What to do if the two cannot agree on how to encrypt. A handshake that was cut short is no such case.
fn about_tls(error: &tokio_postgres::Error) -> Option<&'static str> {
    let source = std::error::Error::source(error)?;
    if error.as_db_error().is_some() || !error.to_string().contains("TLS") {
        return None;
    }
    let rustls = source.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref());
    match rustls.and_then(|error| error.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_)) => Some(
            "name the authority that signed the server's certificate with sslrootcert, or the host \
             as the certificate does",
        ),
        Some(_) => Some("the server's TLS and this program's have nothing in common"),
        None if source.is::<std::io::Error>() => None,
        None => Some("turn TLS on there (ssl = on), or ask for sslmode=prefer or disable"),
    }
}
