//! The servers that tests can use, which of them must be there, and how they come there.

use super::outcome::Outcome;
use crate::workspace::Workspace;
use std::time::Instant;
use tramline_services::{Error, Install, Name, Service, named, temporary};

/// What a run insists on.
#[derive(Debug, PartialEq)]
pub(crate) enum Required {
    /// Every server, and that nothing is skipped.
    Everything,
    /// These servers.
    Servers(Vec<String>),
}

/// A server that was started for this run, and is removed with its data when this is dropped.
pub(crate) struct Started {
    name: Name,
    service: Box<dyn Service>,
}

impl Started {
    /// What `cargo xtask services` knows it by.
    pub(crate) fn name(&self) -> String {
        self.name.to_string()
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        self.service.urls()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Err(error) = self.service.wipe() {
            println!("failed to remove a server of this run: {error}");
        }
    }
}

impl Required {
    /// Reads the names of `--require`; an unknown one is an error that lists the known ones.
    pub(crate) fn named(
        names: &[String],
        servers: impl Iterator<Item = &'static str>,
    ) -> Result<Self, String> {
        let servers: Vec<&str> = servers.collect();
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

    /// What tests are told of it.
    pub(crate) fn told(&self) -> Vec<String> {
        match self {
            Self::Everything => vec!["all".to_owned()],
            Self::Servers(names) => names.clone(),
        }
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

/// Starts a server for this run alone and tells its address to the tests, unless the user has told
/// one. What the machine does not offer is a skip.
pub(crate) fn provide(
    kind: &str,
    workspace: &mut Workspace,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Option<Started>, Outcome> {
    let variable = variable(kind);
    if lookup(&variable).is_some_and(|url| !url.is_empty()) {
        return Ok(None);
    }
    println!("\n==> {kind}");
    let begun = Instant::now();
    let started = start(kind, "xtask").map_err(outcome)?;
    workspace.tell(&variable, &started.url());
    println!("    {kind} is up in {:.1} s: {}", begun.elapsed().as_secs_f64(), started.url());
    Ok(Some(started))
}

/// Sees to it that tests find a PgBouncer, which they start themselves.
pub(crate) fn provide_pooler() -> Result<(), Outcome> {
    tramline_services::postgres::provide_pooler(Install::Allowed).map_err(|error| match error {
        Error::Absent { why, .. } => Outcome::skipped(why),
        Error::Failed(what) => Outcome::of_one(Err(what)),
    })
}

/// Starts a server of its own; `word` is to be seen in its name.
pub(crate) fn start(kind: &str, word: &str) -> Result<Started, Error> {
    let name = temporary(kind, word)?;
    let started = Started { service: named(&name)?, name };
    started.service.up(Install::Allowed)?;
    Ok(started)
}

/// What a server that cannot be had means for who needs it.
pub(crate) fn outcome(error: Error) -> Outcome {
    match error {
        Error::Absent { kind, why } => {
            Outcome::skipped(format!("{why}, or set {} to a server of yours", variable(kind)))
        }
        Error::Failed(what) => Outcome::of_one(Err(what)),
    }
}

/// Where programs look for a server of this kind.
pub(crate) fn variable(kind: &str) -> String {
    format!("TRAMLINE_{}_URL", kind.to_uppercase().replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::outcome::Verdict;
    use tramline_services::kinds;

    const TWO: [&str; 2] = ["postgres", "rabbitmq"];

    fn named(names: &[&str]) -> Result<Required, String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Required::named(&names, TWO.into_iter())
    }

    #[test]
    fn an_unknown_server_is_refused_with_the_known_ones() {
        let message = named(&["postgres", "oracle"]).unwrap_err();
        assert!(message.contains("no server is named oracle"), "{message}");
        assert!(message.contains("all, postgres, rabbitmq"), "{message}");
    }

    #[test]
    fn every_kind_of_server_can_be_required() {
        let names: Vec<String> = kinds().map(str::to_owned).collect();
        assert!(names.iter().any(|name| name == "rabbitmq-cluster"), "{names:?}");
        assert_eq!(Required::named(&names, kinds()), Ok(Required::Servers(names.clone())));
    }

    #[test]
    fn all_is_accepted_even_when_there_is_no_server_yet() {
        assert_eq!(
            Required::named(&["all".to_owned()], std::iter::empty()),
            Ok(Required::Everything)
        );
    }

    #[test]
    fn a_server_whose_address_is_told_is_not_started() {
        let mut workspace = Workspace::here().unwrap();
        let told =
            |name: &str| (name == "TRAMLINE_RABBITMQ_URL").then(|| "amqp://there".to_owned());
        assert!(matches!(provide("rabbitmq", &mut workspace, told), Ok(None)));
    }

    #[test]
    fn a_server_that_the_machine_does_not_offer_is_a_skip_that_says_what_to_set() {
        let absent = Error::Absent { kind: "rabbitmq", why: "install it".to_owned() };
        let absent = outcome(absent);
        assert_eq!(absent.verdict, Verdict::Skipped);
        let expected = "install it, or set TRAMLINE_RABBITMQ_URL to a server of yours";
        assert_eq!(absent.detail, expected);
        assert_eq!(outcome(Error::Failed("broken".to_owned())).verdict, Verdict::Failed);
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
