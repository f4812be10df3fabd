//! Roles of a database with fewer rights than the tests' own, and with a password.

use super::sql::run;
use super::{Database, unique};
use crate::postgres::BY_PASSWORD;
use std::io::Write;
use url::Url;

const PASSWORD: &str = "limited-password";

/// A role of a test's own, which can do nothing yet but connect; gone when it is dropped.
///
/// The servers of this crate want its password. One that the user has named, or one in a container, may
/// trust everybody: see [`wants_password`](Self::wants_password).
pub struct Role<'a> {
    database: &'a Database,
    /// Its name, which no other has had. In SQL it needs quotes.
    pub name: String,
}

impl<'a> Role<'a> {
    /// One that may connect to `database`.
    ///
    /// # Panics
    /// If it cannot be created.
    pub fn of(database: &'a Database) -> Self {
        let name = unique();
        // Tests that do so at once see the one that another has created only when it has.
        database.sql(&format!(
            "DO $$ BEGIN CREATE ROLE {BY_PASSWORD} NOLOGIN; \
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$; \
             CREATE ROLE \"{name}\" LOGIN PASSWORD '{PASSWORD}' IN ROLE {BY_PASSWORD}"
        ));
        Self { database, name }
    }

    /// The database's URL for this role, with its password.
    pub fn url(&self) -> Url {
        self.url_with_password(PASSWORD)
    }

    /// The same with another password.
    pub fn url_with_password(&self, password: &str) -> Url {
        let mut url = self.database.url.clone();
        url.set_username(&self.name).unwrap();
        url.set_password(Some(password)).unwrap();
        url
    }

    /// Whether the server looks at the password at all.
    pub fn wants_password(&self) -> bool {
        run(&self.url_with_password("a guess"), "").is_err()
    }
}

impl Drop for Role<'_> {
    fn drop(&mut self) {
        let name = &self.name;
        let gone = format!("DROP OWNED BY \"{name}\"; DROP ROLE \"{name}\"");
        if let Err(error) = run(&self.database.url, &gone) {
            writeln!(std::io::stderr(), "{error}").ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::or_skip;
    use crate::postgres::Server;

    #[test]
    fn a_role_needs_its_password_and_can_do_what_it_was_granted() {
        let Some(server) = or_skip(Server::temporary("role", &[])) else { return };
        let database = Database::on(server.url().parse().unwrap());
        let role = Role::of(&database);
        database.sql("CREATE TABLE kept (it text)");
        let refused = run(&role.url(), "SELECT it FROM kept").unwrap_err();
        assert!(refused.contains("permission denied for table kept"), "{refused}");
        database.sql(&format!("GRANT SELECT ON kept TO \"{}\"", role.name));
        run(&role.url(), "SELECT it FROM kept").unwrap();
        assert!(role.wants_password());
        let refused = run(&role.url_with_password("a guess"), "").unwrap_err();
        assert!(refused.contains("password authentication failed"), "{refused}");
        let listed = format!("SELECT FROM pg_roles WHERE rolname = '{}'", role.name);
        drop(role);
        assert!(database.sql(&listed).is_empty());
    }
}
