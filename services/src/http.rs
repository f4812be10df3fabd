//! Just enough HTTP for a server's own interface.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::fmt;
use std::io::{Error, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long an answer may take; a server that recovers accepts before it answers.
const LIMIT: Duration = Duration::from_secs(30);

/// The status and body of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Such as 200 or 404.
    pub status: u16,
    /// Whatever stands behind the headers.
    pub body: String,
}

/// Who is asked, and by whom.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Authority {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: String,
}

impl Authority {
    /// guest:guest, which RabbitMQ accepts from loopback alone.
    pub(crate) fn on_loopback(port: u16) -> Self {
        let guest = || "guest".to_owned();
        Self { host: "127.0.0.1".to_owned(), port, user: guest(), password: guest() }
    }
}

/// Without the password.
impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

/// Version 1.0 has no chunks and ends with the connection.
pub(crate) fn ask(
    authority: &Authority,
    method: &str,
    path: &str,
    body: &str,
) -> std::io::Result<Answer> {
    let Authority { host, port, user, password } = authority;
    let address = (host.as_str(), *port).to_socket_addrs()?.next();
    let address = address.ok_or_else(|| Error::other("the host has no address"))?;
    let mut connection = TcpStream::connect_timeout(&address, LIMIT)?;
    connection.set_read_timeout(Some(LIMIT))?;
    connection.set_write_timeout(Some(LIMIT))?;
    let credentials = BASE64_STANDARD.encode(format!("{user}:{password}"));
    write!(
        connection,
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nAuthorization: Basic {credentials}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    let no_http = || Error::other(format!("what listens on {address} does not speak HTTP"));
    parse(&String::from_utf8_lossy(&answer)).ok_or_else(no_http)
}

fn parse(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_with_its_status_and_body() {
        let answer = parse("HTTP/1.1 404 Not Found\r\nserver: Cowboy\r\n\r\n{}\r\n\r\n");
        assert_eq!(answer, Some(Answer { status: 404, body: "{}\r\n\r\n".to_owned() }));
        assert_eq!(parse("AMQP\0\0\u{9}\u{1}"), None);
        assert_eq!(parse("RTSP/1.0 200 OK\r\n\r\n"), None);
        assert_eq!(parse("HTTP/1.1 200"), None);
    }
}
