//! Figures that only the broker's HTTP API has. They lag behind by some seconds.

use crate::options::RabbitMqOptions;
use crate::tls::Tls;
use crate::url::decode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::handshake;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::rt::{Read, Write};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::fmt;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_util::compat::{FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use tramline_core::{BoxError, Error, ErrorKind, Result};
use url::Url;

/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How large an answer may be.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// The management API of a broker.
pub(crate) struct Management {
    url: Url,
    authorization: String,
    vhost: String,
    tls: Tls,
}

/// What is known of one queue.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
pub(crate) struct QueueFigures {
    pub(crate) messages_unacknowledged: Option<u64>,
    /// In seconds, as the sender said it.
    pub(crate) head_message_timestamp: Option<u64>,
}

impl Management {
    /// The API that `options` name, if they do.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] for a URL that is none.
    pub(crate) fn of(options: &RabbitMqOptions) -> Result<Option<Self>> {
        let Some(url) = &options.management else { return Ok(None) };
        let bad = || Error::new(ErrorKind::Misconfigured, "use the URL in option `management`");
        // The text may hold a password, so it is not shown.
        let mut url = Url::parse(url).map_err(|error| bad().because(error))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(bad().because("it is not like http://HOST:15672"));
        }
        let (user, password) = match (url.username(), url.password()) {
            ("", _) => (options.user.clone(), options.password.clone()),
            (user, password) => {
                let decoded = |text| decode(text).map_err(|why| bad().because(why));
                (decoded(user)?, decoded(password.unwrap_or_default())?)
            }
        };
        let authorization = format!("Basic {}", BASE64.encode(format!("{user}:{password}")));
        if url.set_username("").and_then(|()| url.set_password(None)).is_err() {
            return Err(bad().because("it cannot have a user"));
        }
        let tls = options.tls.clone().unwrap_or_default();
        Ok(Some(Self { url, authorization, vhost: options.vhost.clone(), tls }))
    }

    /// What is known of the queue that the broker calls `name`.
    ///
    /// # Errors
    /// The API cannot be reached, refuses, or answers something else.
    pub(crate) async fn queue(&self, name: &str) -> Result<QueueFigures> {
        let doing = || format!("ask {} about queue {name}", self.url);
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "queues", &self.vhost, name]);
        }
        url.set_query(Some("columns=messages_unacknowledged,head_message_timestamp"));
        let answer = tokio::time::timeout(ANSWER_LIMIT, self.get(&url)).await;
        let (status, body) = answer
            .map_err(|_| Error::new(ErrorKind::TimedOut, doing()).because("there was no answer"))?
            .map_err(|error| Error::new(ErrorKind::Unavailable, doing()).because(error))?;
        let kind = match status {
            // It says so when it has counted nothing of that yet.
            StatusCode::OK if body.trim_ascii() == b"[]" => return Ok(QueueFigures::default()),
            StatusCode::OK => {
                return serde_json::from_slice(&body)
                    .map_err(|error| Error::new(ErrorKind::Corrupt, doing()).because(error));
            }
            StatusCode::NOT_FOUND => ErrorKind::NotFound,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErrorKind::Misconfigured,
            status if status.is_server_error() => ErrorKind::Unavailable,
            _ => ErrorKind::Refused,
        };
        Err(Error::new(kind, doing()).because(format!("it answered {status}")))
    }

    async fn get(&self, url: &Url) -> Result<(StatusCode, Bytes), BoxError> {
        let host = url.host_str().unwrap_or_default();
        // What stands in brackets is an address of IPv6.
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_or_known_default().unwrap_or(15672);
        let stream = TcpStream::connect((bare, port)).await?;
        if url.scheme() == "http" {
            return self.exchange(TokioIo::new(stream), url).await;
        }
        let stream = self.tls.connector()?.connect_async(bare, stream.compat()).await?;
        self.exchange(TokioIo::new(stream.compat()), url).await
    }

    async fn exchange<S: Read + Write + Unpin + Send + 'static>(
        &self,
        stream: S,
        url: &Url,
    ) -> Result<(StatusCode, Bytes), BoxError> {
        let (mut sender, connection) = handshake(stream).await?;
        let path = &url[url::Position::BeforePath..];
        let request = Request::get(path)
            .header(HOST, &url[url::Position::BeforeHost..url::Position::AfterPort])
            .header(AUTHORIZATION, &self.authorization)
            .body(Empty::<Bytes>::new())?;
        let answered = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await?;
            Ok((status, body.to_bytes()))
        };
        tokio::pin!(connection);
        tokio::pin!(answered);
        tokio::select! {
            biased;
            answered = &mut answered => answered,
            ended = &mut connection => {
                ended?;
                answered.await
            }
        }
    }
}

/// Without the password.
impl fmt::Debug for Management {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Management({})", self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn management(url: &str) -> Result<Option<Management>> {
        let option = url::form_urlencoded::byte_serialize(url.as_bytes()).collect::<String>();
        let amqp = format!("amqp://user:secret@localhost/shop?management={option}");
        Management::of(&RabbitMqOptions::from_url(&amqp)?)
    }

    #[test]
    fn the_api_is_asked_as_its_url_says_or_as_the_user_of_the_broker() {
        let own = management("http://admin:p%40ss%2B1@localhost:15672").unwrap().unwrap();
        assert_eq!(own.authorization, format!("Basic {}", BASE64.encode("admin:p@ss+1")));
        assert_eq!(format!("{own:?}"), "Management(http://localhost:15672/)");
        let same = management("http://localhost:15672/rabbit/").unwrap().unwrap();
        assert_eq!(same.authorization, format!("Basic {}", BASE64.encode("user:secret")));
    }

    #[test]
    fn a_url_that_is_none_is_refused_and_not_shown() {
        for url in ["localhost:15672", "ftp://me:hidden@localhost", "http://"] {
            let error = management(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Misconfigured, "{url}");
            assert!(!error.to_string().contains("hidden"), "{error}");
        }
    }
}
