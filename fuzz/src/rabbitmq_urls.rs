//! A URL of RabbitMQ says what is connected to, or is refused in one line that shows no password.

use tramline_rabbitmq::fuzzing::{Said, parse_url};

/// A word that is in no message.
const SECRET: &str = "hunter2";

pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for scheme in ["", "amqp:", "amqp://", "amqps://", "amqp://u:p@h/v?"] {
        check_any(&format!("{scheme}{text}"));
    }
    check_encoded(&text);
    check_hidden(&text);
}

/// Whatever it is, it is refused, or can be written again.
fn check_any(url: &str) {
    match parse_url(url) {
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
        Ok(said) => {
            assert!(!said.hosts.is_empty() && !said.vhost.is_empty(), "{url:?}");
            let written = written(&said);
            assert_eq!(parse_url(&written).expect(&written), said, "{url:?} as {written:?}");
        }
    }
}

/// Whatever is percent-encoded arrives as it is.
fn check_encoded(text: &str) {
    if text.is_empty() {
        return;
    }
    let encoded = encoded(text);
    let management = format!("management={encoded}&connection_name={encoded}");
    let said = parse_url(&format!("amqp://{encoded}:{encoded}@h/{encoded}?{management}"));
    let said = said.expect("all of it is encoded");
    assert_eq!((said.user.as_str(), said.password.as_str()), (text, text));
    assert_eq!(said.vhost, text);
    let texts = ["connection_name", "management"].map(|name| (name, text.to_owned()));
    assert_eq!(said.texts, texts);
    assert_eq!(said.hosts, [("h".to_owned(), 5672)]);
}

/// A password that is not encoded is not shown.
fn check_hidden(text: &str) {
    // That may be a URL with a user and an `@`, so nobody can tell.
    if text.contains("management=http") {
        return;
    }
    for password in [format!("{text}{SECRET}"), format!("{SECRET}{text}")] {
        for begin in ["amqp://u:", "amqps://u:", "amqp:u:", "amqp:/u:", "amqp:///u:", "u:"] {
            let url = format!("{begin}{password}@h/v");
            let shown = parse_url(&url).map_or_else(|error| error.to_string(), |said| said.address);
            assert!(!shown.contains(SECRET), "{url:?}: {shown}");
        }
    }
}

fn written(said: &Said) -> String {
    let scheme = if said.is_tls { "amqps" } else { "amqp" };
    let host = |(name, port): &(String, u16)| match name.contains(':') {
        true => format!("[{name}]:{port}"),
        false => format!("{name}:{port}"),
    };
    let hosts: Vec<_> = said.hosts.iter().map(host).collect();
    let numbers = said.numbers.iter().map(|(name, number)| format!("{name}={number}"));
    let texts = said.texts.iter().map(|(name, text)| format!("{name}={}", encoded(text)));
    let options: Vec<_> = numbers.chain(texts).collect();
    let [user, password, vhost] = [&said.user, &said.password, &said.vhost].map(|it| encoded(it));
    format!("{scheme}://{user}:{password}@{}/{vhost}?{}", hosts.join(","), options.join("&"))
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}
