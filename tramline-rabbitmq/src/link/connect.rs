//! One attempt to connect.

use super::attempt::Attempt;
use crate::error;
use crate::options::{Host, RabbitMqOptions};
use crate::tls::Tls;
use lapin::runtime::default_runtime;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{AsyncTcpStream, Connection, ConnectionProperties};
use std::net::TcpStream as Socket;
use tramline_core::clock::{Entropy, SystemEntropy};
use tramline_core::{Error, ErrorKind, Result};

/// A connection, and another handle to its socket.
pub(super) struct Connected {
    pub(super) connection: Connection,
    pub(super) socket: Option<Socket>,
}

/// Connects as `role`, which shows in the connection's name, to the first host that answers.
///
/// # Errors
/// That of the host that was tried last, but before all others one of kind
/// [`ErrorKind::Misconfigured`]: a wrong password, vhost or certificate, where trying again cannot
/// help. Names the broker, never the password.
pub(super) async fn connect(options: &RabbitMqOptions, role: &str) -> Result<Connected> {
    let mut failed: Option<Error> = None;
    // Else all that a broken member has served would meet again at one of the others.
    for host in shuffled(&options.hosts, || SystemEntropy.fraction()) {
        match connect_to(host, options, role).await {
            Ok(connection) => return Ok(connection),
            Err(_) if failed.as_ref().is_some_and(is_final) => {}
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| unreachable!("there is at least one host")))
}

fn is_final(error: &Error) -> bool {
    error.kind() == ErrorKind::Misconfigured
}

/// All hosts, each order as likely as any other if `fraction` draws from `0.0..1.0`.
fn shuffled(hosts: &[Host], mut fraction: impl FnMut() -> f64) -> Vec<&Host> {
    let mut order: Vec<&Host> = hosts.iter().collect();
    for last in (1..order.len()).rev() {
        let drawn = (fraction() * (last + 1) as f64) as usize;
        order.swap(drawn, last);
    }
    order
}

async fn connect_to(host: &Host, options: &RabbitMqOptions, role: &str) -> Result<Connected> {
    let doing = || format!("connect to {} as {:?}", options.address_of(host), options.user);
    // No recovery of the client's own: it waits where nobody can interrupt it, and a failed
    // declaration would end it for good.
    let name = format!("{}/{role}", options.connection_name);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let attempt = Attempt::default();
    let runtime = default_runtime().map_err(|error| error::failed(doing(), error))?;
    let reactor = runtime.clone();
    let (calling, tls) = (attempt.calling.clone(), options.tls.as_ref().map(Tls::config));
    let call = async move |uri: AMQPUri, _| {
        let AMQPAuthority { host, port, .. } = uri.authority;
        let called = async {
            let address = reactor.to_socket_addrs((host.clone(), port));
            let stream = AsyncTcpStream::connect(&reactor, address).await?;
            if let AsyncTcpStream::Plain(stream) = &stream {
                calling.remember(stream.get_ref())?;
            }
            match &tls {
                Some(tls) => stream.into_tls(&host, tls.as_ref()).await,
                None => Ok(stream),
            }
        };
        Ok(calling.unless_given_up(called).await?)
    };
    let connected = Connection::connector(uri(host, options), runtime, call, properties);
    match tokio::time::timeout(options.connect_limit, connected).await {
        Ok(connected) => {
            let socket = attempt.keep();
            let connection = connected.map_err(|error| error::not_connected(doing(), error))?;
            Ok(Connected { connection, socket })
        }
        Err(_) => Err(Error::new(ErrorKind::Unavailable, doing())
            .because(format!("there was no answer within {:?}", options.connect_limit))),
    }
}

fn uri(host: &Host, options: &RabbitMqOptions) -> AMQPUri {
    AMQPUri {
        scheme: if options.tls.is_some() { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: options.user.clone(),
                password: options.password.clone(),
            },
            host: host.name.clone(),
            port: host.port,
        },
        vhost: options.vhost.clone(),
        query: AMQPQueryString {
            frame_max: options.frame_bytes_max,
            heartbeat: Some(u16::try_from(options.heartbeat.as_secs()).unwrap_or(u16::MAX)),
            ..AMQPQueryString::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn chance_decides_the_order_in_which_hosts_are_tried() {
        let host = |name: &str| Host { name: name.to_owned(), port: 5672 };
        let hosts = ["a", "b", "c"].map(host);
        let order = |draws: [f64; 2]| -> String {
            let mut draws = draws.into_iter();
            let order = shuffled(&hosts, || draws.next().unwrap());
            order.into_iter().map(|host| host.name.as_str()).collect()
        };
        let draws = [0.0, 0.4, 0.999].into_iter().flat_map(|one| [[one, 0.0], [one, 0.999]]);
        let orders: BTreeSet<String> = draws.map(order).collect();
        assert_eq!(orders, ["abc", "acb", "bac", "bca", "cab", "cba"].map(String::from).into());
    }
}
