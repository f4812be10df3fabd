//! The servers that tests can use, and which of them must be there.

use super::outcome::Outcome;

/// Every server the project supports; a later one is one entry here. Its tests find it through
/// `TRAMLINE_<NAME>_URL`.
pub(crate) const SERVERS: &[&str] = &[];

/// What a run insists on.
#[derive(Debug, PartialEq)]
pub(crate) enum Required {
    /// Every server, and that nothing is skipped.
    Everything,
    /// These servers.
    Servers(Vec<String>),
}

/// A supported server that this machine does not offer.
#[derive(Debug, PartialEq)]
pub(crate) struct Absent {
    pub(crate) name: &'static str,
    pub(crate) outcome: Outcome,
}

impl Required {
    /// Reads the names of `--require`; an unknown one is an error that lists the known ones.
    pub(crate) fn named(names: &[String], servers: &[&str]) -> Result<Self, String> {
        let unknown: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| *name != "all" && !servers.contains(name))
            .collect();
        if !unknown.is_empty() {
            let known: Vec<&str> = std::iter::once("all").chain(servers.iter().copied()).collect();
            return Err(format!(
                "--require: no server is named {}; known are: {}",
                unknown.join(", "),
                known.join(", ")
            ));
        }
        if names.iter().any(|name| name == "all") {
            return Ok(Self::Everything);
        }
        Ok(Self::Servers(names.to_vec()))
    }

    /// The outcome of a step or a server, where a skip is a failure if it was required.
    pub(crate) fn judge(&self, name: &str, outcome: Outcome) -> Outcome {
        let insists = match self {
            Self::Everything => true,
            Self::Servers(names) => names.iter().any(|required| required == name),
        };
        if insists { outcome.without_skips() } else { outcome }
    }
}

/// The servers whose address `lookup` does not know, each as a skip that says what to set.
pub(crate) fn absent(
    servers: &[&'static str],
    lookup: impl Fn(&str) -> Option<String>,
) -> Vec<Absent> {
    let address = |name: &str| format!("TRAMLINE_{}_URL", name.to_uppercase());
    servers
        .iter()
        .filter(|name| lookup(&address(name)).is_none_or(|url| url.is_empty()))
        .map(|name| Absent {
            name,
            outcome: Outcome::skipped(format!("start it and set {}", address(name))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::outcome::Verdict;

    const TWO: &[&str] = &["postgres", "rabbitmq"];

    fn named(names: &[&str]) -> Result<Required, String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Required::named(&names, TWO)
    }

    #[test]
    fn an_unknown_server_is_refused_with_the_known_ones() {
        let message = named(&["postgres", "oracle"]).unwrap_err();
        assert!(message.contains("no server is named oracle"), "{message}");
        assert!(message.contains("all, postgres, rabbitmq"), "{message}");
    }

    #[test]
    fn all_is_accepted_even_when_there_is_no_server_yet() {
        assert_eq!(Required::named(&["all".to_owned()], &[]), Ok(Required::Everything));
    }

    #[test]
    fn a_server_without_an_address_is_absent_and_says_what_to_set() {
        let lookup = |name: &str| match name {
            "TRAMLINE_POSTGRES_URL" => Some("postgres://there".to_owned()),
            _ => None,
        };
        let absent = absent(TWO, lookup);
        assert_eq!(absent.len(), 1);
        assert_eq!(absent[0].name, "rabbitmq");
        assert_eq!(absent[0].outcome.detail, "start it and set TRAMLINE_RABBITMQ_URL");
    }

    #[test]
    fn an_absent_server_fails_the_run_only_when_it_is_required() {
        let judge = |names: &[&str]| {
            let outcome = Outcome::skipped("start it".to_owned());
            named(names).unwrap().judge("rabbitmq", outcome).verdict
        };
        assert_eq!(judge(&[]), Verdict::Skipped);
        assert_eq!(judge(&["postgres"]), Verdict::Skipped);
        assert_eq!(judge(&["rabbitmq"]), Verdict::Failed);
        assert_eq!(judge(&["all"]), Verdict::Failed);
    }
}
