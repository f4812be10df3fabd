//! Servers that do not let a program in, or not as it wants: each error names the server and says what
//! to do.

use crate::kit::{name, prepared};
use tramline_core::ErrorKind;
use tramline_core::topology::{QueueSpec, Topology};
use tramline_core::transport::Transport;
use tramline_postgres::{Postgres, migrations};
use tramline_services::testing::{Database, Role};

async fn refused(url: &str, migrates: bool, kind: ErrorKind, says: &str) {
    let options = Postgres::options(url);
    let options = if migrates { options } else { options.without_migrations() };
    let error = options.open().await.expect_err(says);
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    assert!(text.contains(says) && !text.contains("s3cret"), "`{says}` is not in: {text}");
    let server = url.split('@').nth(1).and_then(|rest| rest.split('/').next());
    assert!(server.is_none_or(|server| text.contains(server)), "it names no server: {text}");
}

#[tokio::test]
async fn wrong_urls_passwords_and_databases_are_told_apart() {
    use ErrorKind::{Misconfigured, Unavailable};
    let Some(database) = Database::fresh() else { return };
    let url = database.url.as_str();
    let port = format!(":{}/", database.url.port().unwrap());
    refused("mysql://u:s3cret@h/d", true, Misconfigured, "begin with postgres://").await;
    refused("postgres:///d", true, Misconfigured, "it names no host").await;
    refused("postgres://h/d?no_such=1", true, Misconfigured, "no_such").await;
    refused(&url.replace(&port, ":1/"), true, Unavailable, "Connection refused").await;
    let nowhere = "postgres://u@nowhere.invalid/d";
    refused(nowhere, true, Unavailable, "lookup address").await;
    refused(&format!("{url}-not"), true, Misconfigured, "create the database").await;
    let role = Role::of(&database);
    if role.wants_password() {
        let wrong = role.url_with_password("s3cret");
        refused(wrong.as_str(), true, Misconfigured, "look at the user and the password").await;
        let mut none = role.url();
        none.set_password(None).unwrap();
        refused(none.as_str(), true, Misconfigured, "password missing").await;
    }
}

#[tokio::test]
async fn missing_rights_are_named_with_what_to_grant() {
    use ErrorKind::Misconfigured;
    let Some(database) = Database::fresh() else { return };
    let role = Role::of(&database);
    let (url, who) = (role.url(), &role.name);
    refused(url.as_str(), true, Misconfigured, "grant CREATE on the database").await;
    refused(url.as_str(), false, Misconfigured, "run the SQL of `tramline::postgres").await;
    database.sql(&migrations());
    refused(url.as_str(), false, Misconfigured, "the user needs USAGE on the schema").await;
    database.sql(&format!("GRANT USAGE ON SCHEMA tramline TO \"{who}\""));
    refused(url.as_str(), true, Misconfigured, "all rights on its tables").await;
    // What the documentation asks for is enough.
    database.sql(&format!(
        "GRANT ALL ON ALL TABLES IN SCHEMA tramline TO \"{who}\";
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA tramline TO \"{who}\""
    ));
    let postgres = Postgres::options(url).without_migrations().open().await.unwrap();
    let topology = Topology { queues: vec![QueueSpec::new(name("work"))], ..Topology::default() };
    postgres.declare(&topology).await.unwrap();
}

#[tokio::test]
async fn tables_that_are_older_or_newer_than_the_program_are_refused() {
    let Some(database) = Database::fresh() else { return };
    drop(prepared(&database).await);
    let url = database.url.as_str();
    database.sql("UPDATE tramline.schema SET version = 0");
    refused(url, false, ErrorKind::Misconfigured, "`tramline::postgres::migrations()`").await;
    database.sql("UPDATE tramline.schema SET version = 99");
    for migrates in [true, false] {
        refused(url, migrates, ErrorKind::Outdated, "have version 99").await;
    }
}
