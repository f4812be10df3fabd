//! One attempt to connect.

use crate::error;
use crate::options::RabbitMqOptions;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Connection, ConnectionProperties, DefaultConnectionBuilder};
use tramline_core::{Error, ErrorKind, Result};

/// Connects as `role`, which shows in the connection's name.
///
/// # Errors
/// Names the broker, never the password. [`ErrorKind::Misconfigured`] if trying again cannot help:
/// a wrong password, vhost or certificate.
pub(crate) async fn connect(options: &RabbitMqOptions, role: &str) -> Result<Connection> {
    let doing = || format!("connect to {} as {:?}", options.address(), options.user);
    let builder = DefaultConnectionBuilder::new().map_err(|error| error::failed(doing(), error))?;
    // No recovery of the client's own: it waits where nobody can interrupt it, and a failed
    // declaration would end it for good.
    let name = format!("{}/{role}", options.connection_name);
    let mut builder = builder
        .with_uri(uri(options))
        .with_properties(ConnectionProperties::default().with_connection_name(name.into()));
    if let Some(tls) = &options.tls {
        builder = builder.with_tls_config(tls.config());
    }
    match tokio::time::timeout(options.connect_limit, builder.connect()).await {
        Ok(connected) => connected.map_err(|error| error::not_connected(doing(), error)),
        Err(_) => Err(Error::new(ErrorKind::Unavailable, doing())
            .because(format!("there was no answer within {:?}", options.connect_limit))),
    }
}

fn uri(options: &RabbitMqOptions) -> AMQPUri {
    AMQPUri {
        scheme: if options.tls.is_some() { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: options.user.clone(),
                password: options.password.clone(),
            },
            host: options.host.clone(),
            port: options.port,
        },
        vhost: options.vhost.clone(),
        query: AMQPQueryString {
            frame_max: options.frame_bytes_max,
            heartbeat: Some(u16::try_from(options.heartbeat.as_secs()).unwrap_or(u16::MAX)),
            ..AMQPQueryString::default()
        },
    }
}
