//! Whom to trust over TLS, and who we are.

use crate::kit::Vhost;
use crate::topologies::{assert_says, queue, spec};
use std::path::PathBuf;
#[cfg(target_os = "linux")]
use tokio::net::{TcpListener, TcpStream};
use tramline_core::transport::Transport;
use tramline_core::{Error, ErrorKind};
use tramline_rabbitmq::RabbitMq;
use tramline_services::or_skip;
use tramline_services::rabbitmq::Server;

/// The broker's URL over TLS with these files as options.
fn url(server: &Server, vhost: &Vhost, files: Vec<(&str, PathBuf)>) -> String {
    let mut url: url::Url = server.amqps_url().parse().unwrap();
    url.set_path(vhost.url.path());
    for (option, path) in files {
        url.query_pairs_mut().append_pair(option, path.to_str().unwrap());
    }
    url.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_is_trusted_by_its_certificate_and_we_are_by_ours() {
    // One that hears nobody without a certificate.
    let asks = [("ssl_options.fail_if_no_peer_cert", "true")];
    let Some(server) = or_skip(Server::temporary("tls", &asks)) else { return };
    let vhost = Vhost::on(server.url().parse().unwrap());
    let files = server.certificates();
    let (ca, cert, key) = (files.ca(), files.client(), files.client_key());
    let ours = vec![("ca", ca.clone()), ("cert", cert.clone()), ("key", key.clone())];
    let trusted = url(&server, &vhost, ours);
    let broker = RabbitMq::connect(&trusted).await.unwrap();
    broker.declare(&queue(spec())).await.unwrap();
    assert!(!vhost.queue("work").is_null());

    let untrusted = "the broker's certificate is not trusted (option `ca`";
    let refused = "the broker refuses the client's certificate (options `cert` and `key`)";
    let others = [("cert", files.other_client()), ("key", files.other_client_key())];
    for (options, why) in [
        (vec![("ca", files.other_ca()), ("cert", cert), ("key", key)], untrusted),
        (vec![], untrusted),
        (vec![("ca", ca.clone())], refused),
        ([("ca", ca)].into_iter().chain(others).collect(), refused),
    ] {
        let error = refusal(&url(&server, &vhost, options)).await;
        assert_says(&error, ErrorKind::Misconfigured, &["amqps://127.0.0.1", why]);
    }
}

/// The certificate is for `localhost` and 127.0.0.1.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_host_is_refused_with_that_hosts_name() {
    let Some(server) = or_skip(Server::temporary("host", &[])) else { return };
    let vhost = Vhost::on(server.url().parse().unwrap());
    let trusted = vec![("ca", server.certificates().ca())];
    let mut elsewhere: url::Url = url(&server, &vhost, trusted).parse().unwrap();
    let broker = ("127.0.0.1", elsewhere.port().unwrap());
    // The same broker under an address that only this machine has.
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let passing = tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = TcpStream::connect(broker).await.unwrap();
        let _ended = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    });
    elsewhere.set_host(Some("127.0.0.2")).unwrap();
    elsewhere.set_port(Some(port)).unwrap();
    let error = RabbitMq::connect(elsewhere.as_str()).await.expect_err("expected a refusal");
    let words = ["amqps://127.0.0.2", "not for this host", "a name that it has", "localhost"];
    assert_says(&error, ErrorKind::Misconfigured, &words);
    passing.abort();
}

/// Why nobody is let in at `url`. In TLS 1.3 a broker that refuses the client's certificate says so
/// after the handshake and hangs up; if the client has written by then, the operating system may drop
/// the broker's last words and tell of the hang-up alone.
async fn refusal(url: &str) -> Error {
    const TRIES_MAX: u32 = 50;
    for _ in 1..TRIES_MAX {
        let error = RabbitMq::connect(url).await.expect_err("expected a refusal");
        if error.kind() != ErrorKind::Unavailable {
            return error;
        }
    }
    RabbitMq::connect(url).await.expect_err("expected a refusal")
}
