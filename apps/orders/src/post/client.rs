//! One connection to the API that is kept open, and made again when it breaks.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// Posts one order after the other.
pub(super) struct Client {
    address: SocketAddr,
    sender: Option<SendRequest<Full<Bytes>>>,
}

/// How long one answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How often an order is sent before the run is given up. Sending it again is safe: the same order
/// is accepted once.
const TRIES_MAX: u32 = 10;
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);
/// The longest pause that the server may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

type Failed = Box<dyn std::error::Error + Send + Sync>;

impl Client {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, sender: None }
    }

    /// Ends when the order was accepted. An error says why it was not.
    pub(super) async fn post(&mut self, body: Bytes) -> Result<(), String> {
        let mut tries = 0;
        loop {
            let answered = tokio::time::timeout(ANSWER_LIMIT, self.send(body.clone())).await;
            let error = match answered.unwrap_or_else(|late| Err(late.into())) {
                Ok(response) if response.status() == StatusCode::SERVICE_UNAVAILABLE => {
                    let pause = retry_after(&response);
                    read(response).await;
                    tokio::time::sleep(pause).await;
                    continue;
                }
                Ok(response) if response.status() == StatusCode::ACCEPTED => {
                    read(response).await;
                    return Ok(());
                }
                Ok(response) => {
                    let status = response.status();
                    return Err(format!("it was answered {status}: {}", read(response).await));
                }
                Err(error) => error,
            };
            self.sender = None;
            tries += 1;
            if tries == TRIES_MAX {
                return Err(format!("it could not be sent {tries} times: {error}"));
            }
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
        }
    }

    async fn send(&mut self, body: Bytes) -> Result<Response<Incoming>, Failed> {
        let request = Request::builder()
            .method(Method::POST)
            .uri("/orders")
            .header(HOST, self.address.to_string())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let sender = match &mut self.sender {
            Some(sender) => sender,
            None => self.sender.insert(connect(self.address).await?),
        };
        sender.ready().await?;
        Ok(sender.send_request(request).await?)
    }
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>, Failed> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // It ends with its sender; what went wrong is told to whoever waits for an answer.
    tokio::spawn(connection);
    Ok(sender)
}

/// The body as text; it must be read before the connection can be used again.
async fn read(response: Response<Incoming>) -> String {
    match response.into_body().collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Err(error) => format!("(the answer could not be read: {error})"),
    }
}

fn retry_after(response: &Response<Incoming>) -> Duration {
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let seconds = seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or(1);
    Duration::from_secs(seconds).min(RETRY_AFTER_MAX)
}
