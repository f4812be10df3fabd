//! `amqp://user:password@host/vhost?heartbeat=10`: the URL of a broker, or of a cluster.

use crate::options::{Host, RabbitMqOptions};
use crate::tls::Tls;
use std::collections::HashMap;
use std::time::Duration;
use tramline_core::{Error, ErrorKind, Result};
use url::Url;

const OPTIONS: [&str; 11] = [
    "heartbeat",
    "connection_name",
    "connect_limit",
    "ca",
    "cert",
    "key",
    "frame_max",
    "unconfirmed_max",
    "body_max",
    "hold_max",
    "management",
];

/// Files that a URL names.
#[derive(Default)]
pub(crate) struct Files {
    pub(crate) ca: Option<String>,
    pub(crate) cert: Option<String>,
    pub(crate) key: Option<String>,
}

/// The options that `url` says, with what stands in the files that it names.
pub(crate) fn parse(url: &str) -> Result<RabbitMqOptions> {
    let (mut options, files) = understand(url)?;
    if options.tls.is_some() {
        let Files { ca, cert, key } = &files;
        options.tls = Some(Tls::read(ca.as_deref(), cert.as_deref(), key.as_deref())?);
    }
    Ok(options)
}

/// The options that `url` says, and the files that are to be read for them. Pure.
pub(crate) fn understand(url: &str) -> Result<(RabbitMqOptions, Files)> {
    let url = url.trim();
    // Nothing of such a URL is shown: what looks like a vhost may be a part of the password.
    let unshown = || Error::new(ErrorKind::Misconfigured, "read a RabbitMQ URL");
    if url.contains(|c: char| c.is_ascii_control()) {
        // Whoever reads URLs leaves tabs and line breaks out, and takes what is then another URL.
        return Err(unshown().because("there is a line break or a control character in it"));
    }
    if has_stray(url) {
        return Err(unshown().because(
            "there is a # or, behind the host, an @ in it: in a user, password, vhost or option / is \
             written %2F, ? is %3F, # is %23 and @ is %40",
        ));
    }
    let Parts { first: url, further, path } = &Parts::of(url);
    let parsed = Url::parse(url).map_err(|error| bad(url).because(error))?;
    let tls = match parsed.scheme() {
        "amqp" => false,
        "amqps" => true,
        _ => return Err(bad(url).because("it does not begin with amqp:// or amqps://")),
    };
    let port = if tls { 5671 } else { 5672 };
    let mut hosts = vec![host(&parsed, port).map_err(|why| bad(url).because(why))?];
    for text in further {
        hosts.push(further_host(text, port).map_err(|why| bad(url).because(why))?);
    }
    let decoded = |text: &str| decode(text).map_err(|why| bad(url).because(why));
    let vhost = match path.strip_prefix('/').unwrap_or_default() {
        "" => "/".to_owned(),
        vhost => decoded(vhost)?,
    };
    let said = options(url, &parsed)?;
    let text = |name: &str| said.get(name).cloned();
    let user = match parsed.username() {
        "" => "guest".to_owned(),
        user => decoded(user)?,
    };
    let password = parsed.password().map_or(Ok("guest".to_owned()), decoded)?;
    let files = Files { ca: text("ca"), cert: text("cert"), key: text("key") };
    if !tls && ["ca", "cert", "key"].iter().any(|name| said.contains_key(*name)) {
        return Err(bad(url).because("ca, cert and key need amqps:"));
    }
    let numbers = Numbers { url, said: &said };
    let options = RabbitMqOptions {
        hosts,
        user,
        password,
        vhost,
        tls: tls.then(Tls::default),
        heartbeat: Duration::from_secs(numbers.get("heartbeat", 1, u16::MAX.into(), 15)?),
        connection_name: text("connection_name").unwrap_or_else(program),
        connect_limit: Duration::from_secs(numbers.get("connect_limit", 1, 3600, 10)?),
        frame_bytes_max: numbers.optional("frame_max", 4096, u32::MAX.into())?.map(|n| n as u32),
        unconfirmed_max: numbers.get("unconfirmed_max", 1, 1_000_000, 4096)? as u32,
        body_bytes_max: numbers.get("body_max", 1, u64::MAX, 16 * 1024 * 1024)?,
        hold_max: Duration::from_secs(numbers.get("hold_max", 1, u32::MAX.into(), 1500)?),
        management: text("management"),
    };
    Ok((options, files))
}

/// Whether something stands where it cannot be meant, as when a password is not percent-encoded: what
/// is behind its `/` or `?` would be taken for a vhost or for options, and be shown.
fn has_stray(url: &str) -> bool {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let (_, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (path, options) = behind.split_once('?').unwrap_or((behind, ""));
    // Which is often written as it is.
    let is_url = |option: &&str| option.starts_with("management=http");
    let mut options = options.split('&').filter(|option| !is_url(option));
    url.contains('#') || path.contains('@') || options.any(|option| option.contains('@'))
}

/// What a URL of several hosts says: a URL has but one.
struct Parts<'a> {
    /// The URL of the first host alone, without a path.
    first: String,
    /// The other hosts.
    further: Vec<&'a str>,
    /// As it was written: a vhost may be called `..`.
    path: &'a str,
}

impl<'a> Parts<'a> {
    fn of(url: &'a str) -> Self {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Self { first: url.to_owned(), further: Vec::new(), path: "" };
        };
        let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (path, options) = behind.split_at(behind.find(['?', '#']).unwrap_or(behind.len()));
        let (user, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        let mut hosts = hosts.split(',');
        let first = hosts.next().unwrap_or_default();
        let first = format!("{scheme}://{user}{first}{options}");
        Self { first, further: hosts.collect(), path }
    }
}

/// `text` is what stands between two commas.
fn further_host(text: &str, port: u16) -> Result<Host, String> {
    let wrong = |why: &str| format!("{text:?} is not a host, or a host and its port: {why}");
    let parsed =
        Url::parse(&format!("amqp://{text}")).map_err(|error| wrong(&error.to_string()))?;
    host(&parsed, port).map_err(wrong)
}

fn host(url: &Url, port: u16) -> Result<Host, &'static str> {
    let name = url.host_str().filter(|host| !host.is_empty()).ok_or("it names no host")?;
    let name = name.trim_matches(['[', ']']).to_owned();
    Ok(Host { name, port: url.port().unwrap_or(port) })
}

/// The error of a URL, which is not shown: it may hold a password in a place that is no URL's.
fn bad(url: &str) -> Error {
    let shown = match Url::parse(url) {
        // Else what was meant for a password may stand in the path, or in the user's name.
        Ok(mut parsed) if parsed.has_host() && matches!(parsed.scheme(), "amqp" | "amqps") => {
            let hidden = parsed.password().is_some() && parsed.set_password(Some("…")).is_ok();
            if hidden || parsed.password().is_none() {
                without_query(&parsed)
            } else {
                String::new()
            }
        }
        _ => String::new(),
    };
    let doing = if shown.is_empty() {
        "read a RabbitMQ URL".to_owned()
    } else {
        format!("read the URL {shown}")
    };
    Error::new(ErrorKind::Misconfigured, doing)
}

/// The management URL in the query has a password too.
fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string().replace("%E2%80%A6", "…")
}

fn options(url: &str, parsed: &Url) -> Result<HashMap<String, String>> {
    let mut said = HashMap::new();
    for (name, value) in parsed.query_pairs() {
        if !OPTIONS.contains(&&*name) {
            let known = OPTIONS.join(", ");
            return Err(bad(url).because(format!("there is no option {name:?}, only {known}")));
        }
        if said.insert(name.to_string(), value.into_owned()).is_some() {
            return Err(bad(url).because(format!("option {name:?} is there twice")));
        }
    }
    Ok(said)
}

struct Numbers<'a> {
    url: &'a str,
    said: &'a HashMap<String, String>,
}

impl Numbers<'_> {
    fn get(&self, name: &str, min: u64, max: u64, default: u64) -> Result<u64> {
        Ok(self.optional(name, min, max)?.unwrap_or(default))
    }

    fn optional(&self, name: &str, min: u64, max: u64) -> Result<Option<u64>> {
        let Some(text) = self.said.get(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) if (min..=max).contains(&number) => Ok(Some(number)),
            _ => Err(bad(self.url)
                .because(format!("{name} is {text:?}, not a whole number from {min} to {max}"))),
        }
    }
}

/// Undoes percent-encoding.
pub(crate) fn decode(text: &str) -> Result<String, &'static str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| (byte as char).to_digit(16));
        match (digit(), digit()) {
            (Some(high), Some(low)) => bytes.push((high * 16 + low) as u8),
            _ => return Err("a % in it is not followed by two hexadecimal digits"),
        }
    }
    String::from_utf8(bytes).map_err(|_| "a part of it is not UTF-8")
}

/// What this process calls itself.
fn program() -> String {
    let path = std::env::current_exe().ok();
    let name = path.as_deref().and_then(|path| path.file_stem());
    name.map_or_else(|| "tramline".to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, port: u16) -> Host {
        Host { name: name.to_owned(), port }
    }

    #[test]
    fn a_url_says_who_connects_to_what() {
        let said = parse("amqp://orders:p%40ss@broker.example:5673/shop%2Feu?heartbeat=5").unwrap();
        assert_eq!(said.hosts, [host("broker.example", 5673)]);
        assert_eq!((said.user.as_str(), said.password.as_str()), ("orders", "p@ss"));
        assert_eq!(said.vhost, "shop/eu");
        assert_eq!(said.heartbeat, Duration::from_secs(5));
        assert!(said.tls.is_none());
    }

    #[test]
    fn a_url_may_name_the_members_of_a_cluster_one_after_the_other() {
        let said = parse("amqp://u,1:p,2@one,two:5673,[::1]:7/shop?heartbeat=5").unwrap();
        assert_eq!(said.hosts, [host("one", 5672), host("two", 5673), host("::1", 7)]);
        assert_eq!((said.user.as_str(), said.password.as_str()), ("u,1", "p,2"));
        assert_eq!(said.address(), "amqp://one:5672,two:5673,[::1]:7 (vhost \"shop\")");
        let ports = parse("amqps://one,two:1").unwrap().hosts;
        assert_eq!(ports, [host("one", 5671), host("two", 1)]);
    }

    #[test]
    fn a_password_may_hold_anything_that_is_percent_encoded() {
        let url = "amqp://u%2F:a%2Fb%3Fc%23d%40e%3A@h/shop%40eu?management=http://u:p@h:15672";
        let said = parse(url).unwrap();
        assert_eq!((said.user.as_str(), said.password.as_str()), ("u/", "a/b?c#d@e:"));
        assert_eq!((said.vhost.as_str(), said.hosts), ("shop@eu", vec![host("h", 5672)]));
        assert_eq!(said.management.as_deref(), Some("http://u:p@h:15672"));
    }

    #[test]
    fn a_vhost_is_called_as_it_is_written() {
        for (path, vhost) in [("..", ".."), ("%2E", "."), ("a/../b", "a/../b"), ("/", "/")] {
            assert_eq!(parse(&format!("amqp://h/{path}?heartbeat=5")).unwrap().vhost, vhost);
        }
        let from_a_file = " amqp://h/shop\n";
        assert_eq!(parse(from_a_file).unwrap().vhost, "shop");
    }

    #[test]
    fn what_a_url_leaves_out_is_as_everywhere() {
        for url in ["amqp://localhost", "amqp://localhost/", "amqp://localhost/%2f"] {
            let said = parse(url).unwrap();
            assert_eq!((said.hosts[0].port, said.vhost.as_str()), (5672, "/"), "{url}");
            assert_eq!((said.user.as_str(), said.password.as_str()), ("guest", "guest"), "{url}");
        }
        assert_eq!(parse("amqps://localhost").unwrap().hosts, [host("localhost", 5671)]);
    }

    #[test]
    fn a_wrong_url_is_refused_with_the_reason_and_without_its_password() {
        for (url, reason) in [
            ("amqp:", "names no host"),
            ("amqp:u:secret@h/vhost", "names no host"),
            ("amqp:/u:secret@h/vhost", "names no host"),
            ("amqp:/\t/u:secret@one,two", "a line break or a control character"),
            ("amqp://u:1\nsecret@h", "a line break or a control character"),
            ("amqp://u:secret@one,", "\"\" is not a host"),
            ("amqp://u:secret@one,two:x/", "\"two:x\" is not a host, or a host and its port"),
            ("kafka://u:secret@h", "amqp:// or amqps://"),
            ("u://secret@h", "amqp:// or amqps://"),
            ("amqp://u:secret@h?heartbeats=1", "no option \"heartbeats\", only heartbeat"),
            ("amqp://u:secret@h?heartbeat=soon", "heartbeat is \"soon\", not a whole number"),
            ("amqp://u:secret@h?heartbeat=5&heartbeat=6", "\"heartbeat\" is there twice"),
            ("amqp://u:secret@h?ca=ca.pem", "need amqps:"),
            ("amqps://u:secret@h?ca=no-such-file.pem", "no-such-file.pem"),
            ("amqps://u:secret@h?cert=client.pem", "`cert` and `key` go together"),
            ("amqp://u:secret@h/%zz", "hexadecimal"),
            ("amqp://u:secret@h:port", "port"),
            ("amqp://u:1/secret@h/vhost", "/ is written %2F"),
            ("amqp://u:a@1/secret@h/vhost", "/ is written %2F"),
            ("amqp://u:1?secret@h/vhost", "? is %3F"),
            ("amqp://u:1?secret@h/vhost?heartbeat=5", "? is %3F"),
            ("amqp://u:1?heartbeat=secret@h/vhost", "? is %3F"),
            ("amqp://u:1?heartbeat=5&secret@h/vhost", "? is %3F"),
            ("amqp://u:1#secret@h/vhost", "# is %23"),
            ("amqp://u:secret@h/shop#eu", "# is %23"),
            ("amqp://u:secret@h/shop@eu", "@ is %40"),
        ] {
            let error = parse(url).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Misconfigured, "{url}");
            let text = error.to_string();
            assert!(text.contains(reason), "{url}: {text}");
            assert!(!text.contains("secret"), "{url}: {text}");
        }
    }
}
