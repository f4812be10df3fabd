//! Just enough HTTP for a server's own interface on loopback.

use std::io::{Error, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take; a server that recovers accepts before it answers.
const LIMIT: Duration = Duration::from_secs(10);

/// guest:guest, which RabbitMQ accepts from loopback alone.
const AUTHORIZATION: &str = "Basic Z3Vlc3Q6Z3Vlc3Q=";

/// The status and body of an answer.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Asks the program that listens on loopback. Version 1.0 has no chunks and ends with the connection.
pub(crate) fn ask(port: u16, method: &str, path: &str, body: &str) -> std::io::Result<Answer> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut connection = TcpStream::connect_timeout(&address, LIMIT)?;
    connection.set_read_timeout(Some(LIMIT))?;
    connection.set_write_timeout(Some(LIMIT))?;
    write!(
        connection,
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nAuthorization: {AUTHORIZATION}\r\n\
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
