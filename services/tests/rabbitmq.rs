//! With real brokers, each of them of one test alone.

use serde_json::{Value, json};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use tramline_services::rabbitmq::{Cluster, Server};
use tramline_services::{Error, Install, Result, Service, State, named, or_skip, temporary};

/// Puts a persistent message into a durable queue; the interface answers when it is confirmed.
fn publish(server: &Server, payload: &str) {
    let queue = json!({"durable": true});
    server.manage("PUT", "/api/queues/%2f/kept", &queue.to_string()).unwrap();
    let message = json!({
        "properties": {"delivery_mode": 2}, "routing_key": "kept",
        "payload": payload, "payload_encoding": "string",
    });
    let path = "/api/exchanges/%2f/amq.default/publish";
    let answer = server.manage("POST", path, &message.to_string()).unwrap();
    assert_eq!(answer, r#"{"routed":true}"#);
}

fn get(server: &Server) -> String {
    let asked = json!({"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"});
    let answer = server.manage("POST", "/api/queues/%2f/kept/get", &asked.to_string()).unwrap();
    let messages: Value = serde_json::from_str(&answer).unwrap();
    messages[0]["payload"].as_str().unwrap_or_else(|| panic!("no message: {answer}")).to_owned()
}

fn pid(state: State) -> u32 {
    let State::Up(Some(pid)) = state else { panic!("it is {state}") };
    pid
}

/// Shakes hands as a client with these options; what `openssl` says if that fails.
fn shake_hands(
    server: &Server,
    authority: &Path,
    client: &[&Path],
) -> std::result::Result<(), String> {
    let url = server.amqps_url();
    let address = url.split('@').nth(1).and_then(|rest| rest.split('/').next()).unwrap();
    let mut openssl = Command::new("openssl");
    // With version 1.3 the server judges the client after the handshake.
    openssl.args(["s_client", "-tls1_2", "-verify_return_error", "-connect", address, "-CAfile"]);
    openssl.arg(authority);
    for (option, path) in ["-cert", "-key"].iter().zip(client) {
        openssl.arg(option).arg(path);
    }
    let output = openssl.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    output.status.success().then_some(()).ok_or(said)
}

#[test]
fn a_killed_broker_comes_back_with_its_messages_its_settings_and_its_url() {
    let settings = [("consumer_timeout", "5000"), ("log.file.level", "debug")];
    let Some(server) = or_skip(Server::temporary("kill", &settings)) else { return };
    publish(&server, "paid");
    let (first, url) = (pid(server.state()), server.url());
    server.kill().unwrap();
    assert_eq!(server.state(), State::Stopped);
    server.up().unwrap();
    assert_ne!(pid(server.state()), first);
    assert_eq!(server.url(), url);
    assert_eq!(get(&server), "paid");
    let environment = server.rabbitmqctl(&["environment"]).unwrap();
    assert!(environment.contains("{consumer_timeout,5000}"), "{environment}");
    server.down().unwrap();
    assert_eq!(server.state(), State::Stopped);
}

#[test]
fn over_tls_a_client_needs_no_certificate_but_none_of_a_stranger() {
    let Some(server) = or_skip(Server::temporary("tls", &[])) else { return };
    let files = server.certificates();
    shake_hands(&server, &files.ca(), &[]).unwrap();
    shake_hands(&server, &files.ca(), &[&files.client(), &files.client_key()]).unwrap();
    let untrusted = shake_hands(&server, &files.other_ca(), &[]).unwrap_err();
    assert!(untrusted.contains("verify error"), "{untrusted}");
    let stranger = [&*files.other_client(), &files.other_client_key()];
    let refused = shake_hands(&server, &files.ca(), &stranger).unwrap_err();
    assert!(refused.contains("alert"), "{refused}");
}

/// Removes a server that was only named.
struct Removed(Box<dyn Service>);

impl Drop for Removed {
    fn drop(&mut self) {
        let wiped = self.0.wipe();
        assert!(thread::panicking() || wiped.is_ok(), "{wiped:?}");
    }
}

#[test]
fn two_that_start_it_at_once_get_one_and_its_state_is_true_whoever_kills_it() {
    let name = temporary("rabbitmq", "twice").unwrap();
    let server = Removed(named(&name).unwrap());
    let started: Vec<_> = thread::scope(|scope| {
        let up = || {
            let server = named(&name)?;
            Ok((server.up(Install::Never)?, server.status()[0].state))
        };
        let both = [scope.spawn(up), scope.spawn(up)];
        both.map(|up| or_skip(up.join().unwrap())).into_iter().flatten().collect()
    });
    let [(one, first), (other, second)] = started[..] else { return };
    assert!(one != other, "exactly one has started it");
    assert_eq!(pid(first), pid(second));

    let outside = format!("kill -9 {}", pid(first));
    assert!(Command::new("sh").args(["-c", &outside]).status().unwrap().success());
    assert_eq!(server.0.status()[0].state, State::Stopped);
}

#[test]
fn a_killed_member_comes_back_to_its_cluster() {
    let Some(cluster) = or_skip(Cluster::temporary("member", &[])) else { return };
    cluster.kill(2).unwrap();
    let states = || cluster.status().into_iter().map(|member| member.state);
    let up: Vec<bool> = states().map(|state| matches!(state, State::Up(_))).collect();
    assert_eq!(up, [true, false, true]);
    let before: Vec<State> = states().collect();
    cluster.up().unwrap();
    let after: Vec<State> = states().collect();
    assert_eq!((before[0], before[2]), (after[0], after[2]));
    let status = cluster.rabbitmqctl(2, &["cluster_status"]).unwrap();
    let running = status.split("Running Nodes").nth(1).unwrap().split("Versions").next().unwrap();
    assert!(cluster.nodes().iter().all(|node| running.contains(node.as_str())), "{status}");
}

/// Why a server does not start.
fn failure<T>(started: Result<T>) -> Option<String> {
    or_skip(match started {
        Ok(_) => panic!("it has started"),
        Err(Error::Failed(what)) => Ok(what),
        Err(absent) => Err(absent),
    })
}

#[test]
fn a_server_that_cannot_start_says_why_and_what_to_do() {
    let wrong = Server::temporary("wrong", &[("no.such.setting", "1")]);
    let Some(failed) = failure(wrong) else { return };
    assert!(failed.contains("it ended by itself"), "{failed}");
    assert!(failed.contains("no setting with that name"), "{failed}");

    let server = Removed(named(&temporary("rabbitmq", "taken").unwrap()).unwrap());
    let url = server.0.urls();
    let port = url.split(&[':', '/']).find_map(|part| part.parse().ok()).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let Some(failed) = failure(server.0.up(Install::Never)) else { return };
    assert!(failed.contains(&format!("its port {port} is taken")), "{failed}");
    drop(listener);
}
