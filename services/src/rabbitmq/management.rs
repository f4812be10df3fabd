//! The management API of a broker: where it is, and requests to it.

use super::config::Ports;
use crate::http::{self, Answer, Authority};
use crate::{Error, Result};

/// The management API of one broker, and who asks it.
#[derive(Clone)]
pub struct Management(Authority);

impl Management {
    /// The one that an AMQP URL names as `?management=`.
    ///
    /// # Errors
    /// If it names none, or not as `http://user:password@host:port`. What the URL says is not shown,
    /// because it holds passwords.
    pub fn of(url: &str) -> Result<Self> {
        let options = url.split_once('?').map_or("", |(_, options)| options);
        let named = options.split('&').find_map(|option| option.strip_prefix("management="));
        let Some(named) = named else {
            return Err(needed("the URL of the broker for tests names no management API"));
        };
        let authority = decoded(named).and_then(|url| authority(&url));
        authority.map(Self).ok_or_else(|| {
            needed("what `management=` says is not http://user:password@host:port, percent-encoded")
        })
    }

    pub(crate) fn on_loopback(ports: Ports) -> Self {
        Self(Authority::on_loopback(ports.management()))
    }

    /// As whom the broker is asked.
    pub fn user(&self) -> &str {
        &self.0.user
    }

    /// One request, such as `("PUT", "/api/vhosts/mine", "{}")`, and its answer, whatever that is.
    ///
    /// # Errors
    /// If nothing answers within half a minute.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Result<Answer> {
        http::ask(&self.0, method, path, body)
            .map_err(|error| Error::failed(format!("failed to {method} {}{path}: {error}", self.0)))
    }

    /// The same; the body of an answer of success.
    ///
    /// # Errors
    /// If nothing answers within half a minute, or with a status that is not of success.
    pub fn manage(&self, method: &str, path: &str, body: &str) -> Result<String> {
        match self.ask(method, path, body)? {
            Answer { status: 200..=299, body } => Ok(body),
            Answer { status, body } => {
                let answered = format!("{method} {}{path} answered {status}: {body}", self.0);
                Err(Error::failed(answered))
            }
        }
    }
}

/// What lacks a management API, and what to do.
fn needed(why: &str) -> Error {
    Error::failed(format!(
        "{why}, and tests make vhosts of their own by it: in TRAMLINE_RABBITMQ_URL, add \
         `?management=` and its percent-encoded URL with an administrator, such as \
         `?management=http%3A%2F%2Fguest%3Aguest%40127.0.0.1%3A15672`, or let \
         `cargo xtask services up rabbitmq` start a broker and print a whole URL"
    ))
}

/// Who is asked by a URL such as `http://guest:guest@127.0.0.1:15672`.
fn authority(url: &str) -> Option<Authority> {
    let rest = url.strip_prefix("http://")?;
    let (credentials, address) = rest.trim_end_matches('/').rsplit_once('@')?;
    let (user, password) = credentials.split_once(':')?;
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_matches(['[', ']']).to_owned();
    let (user, password) = (decoded(user)?, decoded(password)?);
    Some(Authority { host, port: port.parse().ok()?, user, password })
}

/// Undoes percent-encoding.
fn decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        let mut digit = || char::from(rest.next()?).to_digit(16);
        bytes.push(if byte == b'%' { (digit()? * 16 + digit()?) as u8 } else { byte });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_a_broker_names_its_management_api_and_who_asks_it() {
        for named in [
            "http%3A%2F%2Fme%3Ap%2540ss%40%5B%3A%3A1%5D%3A15672%2F",
            "http://me:p%2540ss@[::1]:15672",
        ] {
            let url = format!("amqp://u:p@h/%2f?heartbeat=5&management={named}");
            let Management(authority) = Management::of(&url).unwrap();
            let expected = Authority {
                host: "::1".to_owned(),
                port: 15672,
                user: "me".to_owned(),
                password: "p@ss".to_owned(),
            };
            assert_eq!(authority, expected);
        }
    }

    #[test]
    fn a_url_without_a_management_api_is_answered_with_what_to_add_and_no_password() {
        for url in [
            "amqp://u:secret@h/%2f",
            "amqp://u:secret@h/%2f?heartbeat=5",
            "amqp://u:secret@h/%2f?management=",
            "amqp://u:secret@h/%2f?management=http%3A%2F%2Fh%3A15672",
            "amqp://u:secret@h/%2f?management=http%3A%2F%2Fme%3Asecret%40h",
            "amqp://u:secret@h/%2f?management=https%3A%2F%2Fme%3Asecret%40h%3A15671",
            "amqp://u:secret@h/%2f?management=%zz",
        ] {
            let Err(Error::Failed(why)) = Management::of(url) else { panic!("{url}") };
            let add = "add `?management=` and its percent-encoded URL";
            assert!(why.contains(add) && !why.contains("secret"), "{url}: {why}");
        }
    }
}
