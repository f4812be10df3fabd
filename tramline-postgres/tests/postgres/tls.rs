//! Encrypted connections, on a server with certificates of its own.

use crate::kit::{begin, column, put, within};
use tramline_core::ErrorKind;
use tramline_core::compose::Publishing;
use tramline_core::store::{Committed, Store};
use tramline_postgres::Postgres;
use tramline_services::or_skip;
use tramline_services::postgres::Server;
use tramline_services::testing::Database;

/// What a URL says of TLS.
fn asks(database: &Database, mode: &str, root: Option<&std::path::Path>) -> String {
    let mut url = database.url.clone();
    url.query_pairs_mut().append_pair("sslmode", mode);
    if let Some(root) = root {
        url.query_pairs_mut().append_pair("sslrootcert", root.to_str().unwrap());
    }
    url.into()
}

/// How each of a handle's connections is, the handlers' among them.
async fn is_encrypted(database: &Database, url: &str, n: i64) -> Vec<String> {
    let postgres = Postgres::connect(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    let mut tx = begin(&postgres, Publishing::Queues).await;
    put(&mut tx, n).await;
    let sessions = "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
         WHERE datname = current_database() AND application_name = 'tramline'";
    let encrypted = column(database, sessions);
    let committed = within(postgres.commit(tx, Vec::new(), Vec::new())).await;
    assert_eq!(committed.unwrap(), Committed::Done);
    drop(postgres);
    within(async {
        // The next ones are to be told from these.
        while !column(database, sessions).is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    encrypted
}

async fn refused(url: &str, says: &str) {
    let error = Postgres::connect(url).await.expect_err(url);
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{url}: {text}");
    assert!(text.contains(says) && text.contains("127.0.0.1"), "{url}: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_encrypted_and_servers_believed_as_the_url_says() {
    let Some((server, certificates)) = or_skip(Server::temporary_with_tls("tls")) else { return };
    let database = Database::on(server.url().parse().unwrap());
    database.sql("CREATE TABLE numbers (n bigint PRIMARY KEY)");
    let (ca, other_ca) = (certificates.ca(), certificates.other_ca());
    for (n, (url, is)) in [
        (database.url.as_str().to_owned(), "t"),
        (asks(&database, "disable", None), "f"),
        (asks(&database, "prefer", None), "t"),
        (asks(&database, "require", None), "t"),
        (asks(&database, "require", Some(&ca)), "t"),
        (asks(&database, "verify-ca", Some(&ca)), "t"),
        (asks(&database, "verify-full", Some(&ca)), "t"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(is_encrypted(&database, &url, n as i64).await, [is], "{url}");
    }

    let unknown = "UnknownIssuer; name the authority";
    for mode in ["require", "verify-ca", "verify-full"] {
        refused(&asks(&database, mode, Some(&other_ca)), unknown).await;
    }
    // The system's authorities have not signed it either.
    refused(&asks(&database, "verify-full", None), "").await;

    // The certificate is for `localhost` and 127.0.0.1.
    let elsewhere = |mode| {
        let url = asks(&database, mode, Some(&ca)).replace("@127.0.0.1:", "@db.example:");
        format!("{url}&hostaddr=127.0.0.1")
    };
    assert_eq!(is_encrypted(&database, &elsewhere("verify-ca"), 7).await, ["t"]);
    let error = Postgres::connect(elsewhere("verify-full")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(error.to_string().contains("not valid for name \"db.example\""), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_it_is_required_and_taken_where_it_is_preferred() {
    let Some(server) = or_skip(Server::temporary("plain", &[("ssl", "off")])) else { return };
    let database = Database::on(server.url().parse().unwrap());
    database.sql("CREATE TABLE numbers (n bigint PRIMARY KEY)");
    refused(&asks(&database, "require", None), "server does not support TLS; turn TLS on").await;
    assert_eq!(is_encrypted(&database, &asks(&database, "prefer", None), 1).await, ["f"]);
}
