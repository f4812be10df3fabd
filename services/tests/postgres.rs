//! With real PostgreSQL servers, each of them of one test alone.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};
use std::thread;
use tramline_services::postgres::Server;
use tramline_services::{Error, Install, Result, Service, State, named, or_skip, temporary};

fn pid(state: State) -> u32 {
    let State::Up(Some(pid)) = state else { panic!("it is {state}") };
    pid
}

fn psql(server: &Server, statements: &str) -> String {
    server.psql("postgres", statements).unwrap().trim_end().to_owned()
}

/// SIGKILL by somebody else than the library; returns when the process has ended.
fn kill(pid: u32) {
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(killed.success());
    // A zombie has no arguments any more.
    while std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|words| !words.is_empty()) {
        thread::yield_now();
    }
}

#[test]
fn a_killed_server_comes_back_with_what_was_committed_its_settings_and_its_url() {
    let settings = [("statement_timeout", "7s"), ("application_name", "it's")];
    let Some(server) = or_skip(Server::temporary("kill", &settings)) else { return };
    psql(&server, "CREATE TABLE kept (it text); INSERT INTO kept VALUES ('paid')");
    let (first, url) = (pid(server.state()), server.url());
    server.kill().unwrap();
    assert_eq!(server.state(), State::Stopped);
    server.up().unwrap();
    assert_ne!(pid(server.state()), first);
    assert_eq!(server.url(), url);
    assert_eq!(psql(&server, "SELECT it FROM kept"), "paid");
    let shown = "SELECT name, setting FROM pg_settings WHERE name IN \
                 ('fsync', 'wal_level', 'max_connections', 'statement_timeout') ORDER BY name";
    let expected = "fsync|on\nmax_connections|200\nstatement_timeout|7000\nwal_level|logical";
    assert_eq!(psql(&server, shown), expected);
    server.down().unwrap();
    assert_eq!(server.state(), State::Stopped);
    server.up().unwrap();
    assert_eq!(psql(&server, "SELECT it FROM kept"), "paid");
}

#[test]
fn a_standby_has_what_its_primary_has_and_takes_over_when_it_is_promoted() {
    let Some(primary) = or_skip(Server::temporary("primary", &[])) else { return };
    psql(&primary, "CREATE TABLE kept (it text); INSERT INTO kept VALUES ('before')");
    let standby = Server::temporary_standby("standby", &primary).unwrap();
    psql(&primary, "INSERT INTO kept VALUES ('after')");
    while psql(&standby, "SELECT it FROM kept") != "before\nafter" {
        thread::yield_now();
    }
    assert!(standby.psql("postgres", "INSERT INTO kept VALUES ('late')").is_err());
    primary.kill().unwrap();
    psql(&standby, "SELECT pg_promote()");
    psql(&standby, "INSERT INTO kept VALUES ('promoted')");
    standby.kill().unwrap();
    standby.up().unwrap();
    assert_eq!(psql(&standby, "SELECT it FROM kept"), "before\nafter\npromoted");
}

/// A program that is killed when the test ends.
struct Session(std::process::Child);

impl Drop for Session {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A session that works without end, once its server has taken it up. One that waits would notice that
/// the postmaster has gone.
fn busy(server: &Server) -> Session {
    let mut psql = Command::new("psql");
    psql.args([&server.url(), "--command", "DO $$ BEGIN LOOP END LOOP; END $$"]);
    let session = Session(psql.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let works =
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'DO %'";
    while self::psql(server, works) != "1" {
        thread::yield_now();
    }
    session
}

#[test]
fn one_whose_children_outlive_it_is_killed_with_them_and_starts_again() {
    let Some(server) = or_skip(Server::temporary("children", &[])) else { return };
    let _session = busy(&server);
    kill(pid(server.state()));
    // The child that works has not noticed, and its memory would keep the next server out.
    server.up().unwrap();
    let _session = busy(&server);
    kill(pid(server.state()));
    assert!(Service::kill(&*server, None).unwrap(), "children were left to kill");
    assert!(!Service::kill(&*server, None).unwrap(), "nothing was left to kill");
}

#[test]
fn one_that_stops_does_not_wait_for_its_clients() {
    let Some(server) = or_skip(Server::temporary("stop", &[])) else { return };
    let _session = busy(&server);
    server.down().unwrap();
    assert_eq!(server.state(), State::Stopped);
    let log = std::fs::read_to_string(server.log()).unwrap();
    assert!(log.contains("database system is shut down"), "{log}");
}

#[test]
fn the_id_of_a_dead_postmaster_that_another_server_has_got_is_no_obstacle() {
    let Some(server) = or_skip(Server::temporary("dead", &[])) else { return };
    let other = Server::temporary("alive", &[]).unwrap();
    server.kill().unwrap();
    let pid_file = server.log().with_file_name("data").join("postmaster.pid");
    let written = std::fs::read_to_string(&pid_file).unwrap();
    let (_dead, rest) = written.split_once('\n').unwrap();
    std::fs::write(&pid_file, format!("{}\n{rest}", pid(other.state()))).unwrap();
    assert_eq!(server.state(), State::Stopped);
    server.up().unwrap();
    psql(&other, "SELECT 1");
}

#[test]
fn a_first_start_that_was_cut_short_is_begun_anew() {
    let Some(server) = or_skip(Server::temporary("cut-short", &[])) else { return };
    psql(&server, "CREATE TABLE kept (it text)");
    server.kill().unwrap();
    // As if it had been killed before its data were complete.
    let data = server.log().with_file_name("data");
    std::fs::rename(&data, data.with_extension("new")).unwrap();
    server.up().unwrap();
    assert_eq!(psql(&server, "SELECT to_regclass('kept')"), "");
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
    let name = temporary("postgres", "twice").unwrap();
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
    kill(pid(first));
    assert_eq!(server.0.status()[0].state, State::Stopped);
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
    let wrong = Server::temporary("wrong", &[("no_such_setting", "1")]);
    let Some(failed) = failure(wrong) else { return };
    assert!(failed.contains("it ended by itself"), "{failed}");
    assert!(
        failed.contains("unrecognized configuration parameter \"no_such_setting\""),
        "{failed}"
    );

    let server = Removed(named(&temporary("postgres", "taken").unwrap()).unwrap());
    let url = server.0.urls();
    let port = url.split(&[':', '/']).find_map(|part| part.parse().ok()).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let Some(failed) = failure(server.0.up(Install::Never)) else { return };
    assert!(failed.contains(&format!("its port {port} is taken")), "{failed}");
    drop(listener);
}
