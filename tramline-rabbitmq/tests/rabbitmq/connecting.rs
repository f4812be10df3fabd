//! Who connects wrongly is told what is wrong, and never shown the password.

use crate::kit::Vhost;
use std::io::ErrorKind::{TimedOut, WouldBlock};
use std::time::Duration;
use tramline_core::{Error, ErrorKind};
use tramline_rabbitmq::RabbitMq;

const PASSWORD: &str = "not-the-password";
/// For who does not wait for the end of an attempt.
const SOON: Duration = Duration::from_millis(500);

async fn refused(url: &str) -> Error {
    let connected = tokio::time::timeout(crate::kit::PATIENCE, RabbitMq::connect(url)).await;
    let error = connected.expect("an answer in time").expect_err("expected a refusal");
    let text = error.to_string();
    assert!(!text.contains(PASSWORD), "the password is shown: {text}");
    error
}

fn assert_says(error: &Error, kind: ErrorKind, words: &[&str]) {
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    for word in words {
        assert!(text.contains(word), "expected {word:?}: {text}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_a_matter_of_configuration() {
    let Some(vhost) = Vhost::fresh() else { return };
    let mut url = vhost.url.clone();
    url.set_password(Some(PASSWORD)).unwrap();
    let error = refused(url.as_str()).await;
    assert_says(&error, ErrorKind::Misconfigured, &["guest", "ACCESS_REFUSED"]);
}

#[tokio::test]
async fn a_vhost_that_is_not_there_is_a_matter_of_configuration() {
    let Some(vhost) = Vhost::fresh() else { return };
    let mut url = vhost.url.clone();
    url.set_path("/no-such-vhost");
    let error = refused(url.as_str()).await;
    assert_says(&error, ErrorKind::Misconfigured, &["no-such-vhost"]);
}

#[tokio::test]
async fn a_host_that_nobody_knows_is_named() {
    let url = format!("amqp://guest:{PASSWORD}@no-such-host.invalid/");
    let error = refused(&url).await;
    assert_says(&error, ErrorKind::Unavailable, &["no-such-host.invalid"]);
}

#[tokio::test]
async fn a_port_at_which_nobody_listens_is_named() {
    // Bound and let go: nobody has it now.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("amqp://guest:{PASSWORD}@127.0.0.1:{port}/");
    let error = refused(&url).await;
    assert_says(&error, ErrorKind::Unavailable, &[&port.to_string(), "refused"]);
}

#[tokio::test]
async fn somebody_who_speaks_something_else_is_given_up_in_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("amqp://guest:{PASSWORD}@127.0.0.1:{port}/?connect_limit=1");
    let error = refused(&url).await;
    assert_says(&error, ErrorKind::Unavailable, &[&port.to_string(), "no answer within 1s"]);
}

#[tokio::test]
async fn an_attempt_that_was_given_up_hangs_up() {
    // The operating system takes the connection, and nobody ever answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for scheme in ["amqp", "amqps"] {
        let url = format!("{scheme}://guest:{PASSWORD}@127.0.0.1:{port}/?connect_limit=1");
        refused(&url).await;
        let abandoned = tokio::time::timeout(SOON, RabbitMq::connect(&url)).await;
        assert!(abandoned.is_err(), "nobody answers");
    }
    for mut taken in listener.incoming().take(4).flatten() {
        taken.set_read_timeout(Some(crate::kit::PATIENCE)).unwrap();
        let told = std::io::copy(&mut taken, &mut std::io::sink());
        let is_open = told.is_err_and(|error| matches!(error.kind(), WouldBlock | TimedOut));
        assert!(!is_open, "nobody has hung up");
    }
}

#[tokio::test]
async fn of_several_hosts_the_one_that_answers_is_connected_to() {
    let Some(vhost) = Vhost::fresh() else { return };
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dead = format!("127.0.0.1:{port}");
    let url = vhost.url.as_str();
    let two = url.replacen('@', &format!("@{dead},"), 1);
    // Which of the two comes first is drawn.
    for _ in 0..8 {
        RabbitMq::connect(&two).await.unwrap();
    }
    let wrong = two.replacen(":guest@", &format!(":{PASSWORD}@"), 1);
    let error = refused(&wrong).await;
    assert_says(&error, ErrorKind::Misconfigured, &["ACCESS_REFUSED"]);
}
