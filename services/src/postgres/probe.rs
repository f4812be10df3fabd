//! Whether a server answers queries, asked in its own protocol.

use std::io::{Error, ErrorKind, Read, Result, Write, copy, sink};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// How long one may take to answer that says that it is there.
const LIMIT: Duration = Duration::from_secs(5);

/// Protocol 3.0, before the parameters of a session.
const VERSION: [u8; 4] = [0, 3, 0, 0];
const PARAMETERS: &[u8] = b"user\0postgres\0database\0postgres\0\0";

/// Whether the server on this port of loopback answers a query. One that recovers lets nobody in.
pub(crate) fn answers(port: u16) -> bool {
    let ask = || {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        converse(&mut stream)
    };
    ask().is_ok()
}

/// Opens a session, asks a query and ends the session.
fn converse(stream: &mut (impl Read + Write)) -> Result<()> {
    stream.write_all(&with_length(&[&VERSION, PARAMETERS].concat()))?;
    wait_for_turn(stream)?;
    stream.write_all(&message(b'Q', b"SELECT 1\0"))?;
    wait_for_turn(stream)?;
    stream.write_all(&message(b'X', b""))
}

/// Passes over all messages until the server waits for a query; an error is one.
fn wait_for_turn(stream: &mut impl Read) -> Result<()> {
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let rest = u64::from(u32::from_be_bytes(length).saturating_sub(4));
        copy(&mut stream.by_ref().take(rest), &mut sink())?;
        match kind {
            b'Z' => return Ok(()),
            b'E' => return Err(Error::from(ErrorKind::ConnectionRefused)),
            _ => {}
        }
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], &*with_length(body)].concat()
}

/// The length counts itself.
fn with_length(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// A server with ready answers.
    struct Script {
        answers: Cursor<Vec<u8>>,
        heard: Vec<u8>,
    }

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
            self.answers.read(buffer)
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> Result<usize> {
            self.heard.write(bytes)
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    fn conversed(answers: &[(u8, &[u8])]) -> (Result<()>, Vec<u8>) {
        let answers = answers.iter().flat_map(|(kind, body)| message(*kind, body)).collect();
        let mut script = Script { answers: Cursor::new(answers), heard: Vec::new() };
        (converse(&mut script), script.heard)
    }

    const IN: [(u8, &[u8]); 3] = [(b'R', &[0; 4]), (b'S', b"TimeZone\0GMT\0"), (b'Z', b"I")];
    const ANSWER: [(u8, &[u8]); 3] = [(b'D', b"\0\x01\0\0\0\x011"), (b'C', b"S\0"), (b'Z', b"I")];

    #[test]
    fn a_server_that_lets_in_and_answers_is_ready() {
        let (ended, heard) = conversed(&[IN, ANSWER].concat());
        ended.unwrap();
        assert!(heard.starts_with(b"\0\0\0\x29\0\x03\0\0user\0postgres\0"), "{heard:?}");
        assert!(heard.ends_with(b"Q\0\0\0\x0dSELECT 1\0X\0\0\0\x04"), "{heard:?}");
    }

    #[test]
    fn a_server_that_recovers_refuses_fails_or_hangs_up_is_not() {
        conversed(&[(b'E', b"SFATAL\0C57P03\0\0")]).0.unwrap_err();
        conversed(&[&IN[..], &[(b'E', b"SERROR\0\0"), (b'Z', b"I")]].concat()).0.unwrap_err();
        conversed(&IN).0.unwrap_err();
        conversed(&[]).0.unwrap_err();
    }
}
