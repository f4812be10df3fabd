//! Users of a broker with fewer permissions than the tests' own.

use super::Vhost;
use serde_json::json;
use url::Url;

const PASSWORD: &str = "limited-password";

/// A user of a test's own, who can do nothing yet; gone when it is dropped.
pub struct User<'a> {
    vhost: &'a Vhost,
    name: String,
}

impl<'a> User<'a> {
    /// One who may do in `vhost` what these patterns allow.
    pub fn of(vhost: &'a Vhost, configure: &str, write: &str, read: &str) -> Self {
        let user = Self { vhost, name: format!("user-of-{}", vhost.name) };
        let password = json!({ "password": PASSWORD, "tags": "" });
        vhost.ask("PUT", &format!("/api/users/{}", user.name), Some(&password.to_string()));
        user.permit(configure, write, read);
        user
    }

    /// Replaces what the user may do.
    pub fn permit(&self, configure: &str, write: &str, read: &str) {
        self.vhost.permit(&self.name, configure, write, read);
    }

    /// Limits what the user may publish to a topic exchange, by patterns of routing keys.
    pub fn permit_topic(&self, exchange: &str, write: &str) {
        let rights = json!({ "exchange": exchange, "write": write, "read": ".*" });
        let path = format!("/api/topic-permissions/{}/{}", self.vhost.name, self.name);
        self.vhost.ask("PUT", &path, Some(&rights.to_string()));
    }

    /// The vhost's URL for this user, without the management API, which is not for him.
    pub fn url(&self) -> Url {
        let mut url = self.vhost.url.clone();
        url.set_query(None);
        url.set_username(&self.name).unwrap();
        url.set_password(Some(PASSWORD)).unwrap();
        url
    }
}

impl Drop for User<'_> {
    fn drop(&mut self) {
        self.vhost.ask("DELETE", &format!("/api/users/{}", self.name), None);
    }
}
