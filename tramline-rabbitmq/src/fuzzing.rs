//! What fuzz targets need to reach. It is compiled for them alone and no part of the interface.

use crate::url::{Files, understand};
use tramline_core::Result;

/// What a URL says.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// Names and ports.
    pub hosts: Vec<(String, u16)>,
    /// Whether it begins with `amqps:`.
    pub is_tls: bool,
    /// Who connects.
    pub user: String,
    /// The password.
    pub password: String,
    /// The vhost.
    pub vhost: String,
    /// Options that are numbers, with their names.
    pub numbers: Vec<(&'static str, u64)>,
    /// Options that are text, with their names.
    pub texts: Vec<(&'static str, String)>,
    /// What is shown of it to everybody.
    pub address: String,
}

/// What the URL `text` says; its files are not read.
pub fn parse_url(text: &str) -> Result<Said> {
    let (options, Files { ca, cert, key }) = understand(text)?;
    let numbers = [
        ("heartbeat", Some(options.heartbeat.as_secs())),
        ("connect_limit", Some(options.connect_limit.as_secs())),
        ("frame_max", options.frame_bytes_max.map(u64::from)),
        ("unconfirmed_max", Some(options.unconfirmed_max.into())),
        ("body_max", Some(options.body_bytes_max)),
        ("hold_max", Some(options.hold_max.as_secs())),
    ];
    let texts = [
        ("connection_name", Some(options.connection_name.clone())),
        ("management", options.management.clone()),
        ("ca", ca),
        ("cert", cert),
        ("key", key),
    ];
    Ok(Said {
        address: options.address(),
        is_tls: options.tls.is_some(),
        hosts: options.hosts.into_iter().map(|host| (host.name, host.port)).collect(),
        user: options.user,
        password: options.password,
        vhost: options.vhost,
        numbers: numbers.into_iter().filter_map(|(name, said)| Some((name, said?))).collect(),
        texts: texts.into_iter().filter_map(|(name, said)| Some((name, said?))).collect(),
    })
}
