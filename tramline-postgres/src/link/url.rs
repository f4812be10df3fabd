//! What a URL says beyond what `tokio-postgres` reads.

use percent_encoding::percent_decode_str;

/// A URL, taken apart.
pub(super) struct Parts {
    /// The URL without what is below.
    pub(super) rest: String,
    pub(super) ssl_mode: Option<String>,
    pub(super) ssl_root: Option<String>,
    /// Somebody has said which servers will do.
    pub(super) chooses: bool,
}

impl Parts {
    pub(super) fn of(url: &str) -> Self {
        let mut parts =
            Self { rest: url.to_owned(), ssl_mode: None, ssl_root: None, chooses: false };
        // A password may hold anything but this.
        let host = url.find('@').unwrap_or_default();
        let Some(query) = url[host..].find('?').map(|mark| host + mark) else { return parts };
        let mut kept = Vec::new();
        for parameter in url[query + 1..].split('&') {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = || Some(percent_decode_str(value).decode_utf8_lossy().into_owned());
            match name {
                "sslmode" => parts.ssl_mode = value(),
                "sslrootcert" => parts.ssl_root = value(),
                _ => {
                    parts.chooses |= name == "target_session_attrs";
                    kept.push(parameter);
                }
            }
        }
        parts.rest.truncate(query);
        if !kept.is_empty() {
            parts.rest = format!("{}?{}", parts.rest, kept.join("&"));
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_tls_is_taken_out_and_the_rest_stays() {
        let parts = Parts::of(
            "postgres://u:a?sslmode=x@h,i/d?sslmode=verify-full&connect_timeout=3&\
             sslrootcert=%2Ftmp%2Fa%20b.pem",
        );
        assert_eq!(parts.rest, "postgres://u:a?sslmode=x@h,i/d?connect_timeout=3");
        assert_eq!(parts.ssl_mode.as_deref(), Some("verify-full"));
        assert_eq!(parts.ssl_root.as_deref(), Some("/tmp/a b.pem"));
        assert!(!parts.chooses);
        let parts = Parts::of("postgres://h/d?target_session_attrs=any&sslmode=disable");
        assert_eq!(parts.rest, "postgres://h/d?target_session_attrs=any");
        assert!(parts.chooses);
        assert_eq!(Parts::of("postgres://h/d?sslmode=require").rest, "postgres://h/d");
        assert_eq!(Parts::of("postgres://h/d").rest, "postgres://h/d");
    }
}
