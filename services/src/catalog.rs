//! Every kind of server there is, and how its instances are named.

use crate::{Error, Result, Service, folder, postgres, rabbitmq};
use std::fmt;
use std::str::FromStr;

/// One kind of server.
struct Kind {
    name: &'static str,
    /// Whether tests have one in common, which a run of all tests starts.
    is_shared: bool,
    open: fn(&str) -> Result<Box<dyn Service>>,
}

const KINDS: [Kind; 3] = [
    Kind {
        name: "postgres",
        is_shared: true,
        open: |name| Ok(Box::new(postgres::Server::open(name)?)),
    },
    Kind {
        name: "rabbitmq",
        is_shared: true,
        open: |name| Ok(Box::new(rabbitmq::Server::open(name)?)),
    },
    Kind {
        name: "rabbitmq-cluster",
        is_shared: false,
        open: |name| Ok(Box::new(rabbitmq::Cluster::open(name)?)),
    },
];

/// The longest word after `@`: enough for a sentence, and short enough for a path.
const INSTANCE_MAX: usize = 40;

/// What the user calls a server: `KIND`, `KIND@INSTANCE`, and `/MEMBER` for one of a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    kind: &'static str,
    instance: Option<String>,
    /// A member of a cluster, counted from 1.
    pub member: Option<usize>,
}

/// The kinds of servers there are.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name)
}

/// Those of them that tests have one of in common, found by the environment variable that says its URL.
pub fn shared_kinds() -> impl Iterator<Item = &'static str> {
    KINDS.iter().filter(|kind| kind.is_shared).map(|kind| kind.name)
}

/// The server with this name, set up or not. Its ports are chosen now if it never was.
///
/// # Errors
/// If its folder cannot be created.
pub fn named(name: &Name) -> Result<Box<dyn Service>> {
    let kind = KINDS.iter().find(|kind| kind.name == name.kind);
    let kind = kind.unwrap_or_else(|| unreachable!("a name is only made for a kind"));
    (kind.open)(&name.service())
}

/// Every server that has been set up here, by name.
///
/// # Errors
/// If the folder of all servers cannot be read.
pub fn all() -> Result<Vec<Name>> {
    let names = folder::names()?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

impl Name {
    /// The name of the whole server, without a member.
    pub fn service(&self) -> String {
        match &self.instance {
            Some(instance) => format!("{}@{instance}", self.kind),
            None => self.kind.to_owned(),
        }
    }

    /// The word after `@`; empty for the one server of its kind that has none.
    pub(crate) fn instance(&self) -> &str {
        self.instance.as_deref().unwrap_or_default()
    }

    /// A further server of this kind.
    ///
    /// # Errors
    /// If `instance` is more than a word of small letters, digits and `-`.
    pub(crate) fn of(kind: &str, instance: &str) -> Result<Self> {
        format!("{kind}@{instance}").parse()
    }

    /// Whether it has been set up here.
    ///
    /// # Errors
    /// If the folder of all servers cannot be read.
    pub fn is_set_up(&self) -> Result<bool> {
        Ok(folder::names()?.contains(&self.service()))
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let (service, member) = match name.split_once('/') {
            Some((service, member)) => (service, Some(member)),
            None => (name, None),
        };
        let (kind, instance) = match service.split_once('@') {
            Some((kind, instance)) => (kind, Some(instance)),
            None => (service, None),
        };
        let known = kinds().find(|known| *known == kind).ok_or_else(|| {
            let known: Vec<_> = kinds().collect();
            let known = known.join(", ");
            Error::failed(format!("no server is named {kind}; known are: {known}"))
        })?;
        if instance.is_some_and(|instance| !is_word(instance)) {
            return Err(Error::failed(format!(
                "{name}: after `@` comes a word of at most {INSTANCE_MAX} small letters, digits and -"
            )));
        }
        let number = |member: &str| {
            let number = member.parse().ok().filter(|number| *number > 0);
            number.ok_or_else(|| {
                Error::failed(format!("{name}: after `/` comes a member's number, from 1 on"))
            })
        };
        let member = member.map(number).transpose()?;
        Ok(Self { kind: known, instance: instance.map(str::to_owned), member })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.service())?;
        self.member.map_or(Ok(()), |member| write!(f, "/{member}"))
    }
}

fn is_word(instance: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=INSTANCE_MAX).contains(&instance.len()) && instance.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str) -> String {
        name.parse::<Name>().unwrap_err().to_string()
    }

    #[test]
    fn a_name_says_its_kind_instance_and_member_and_is_written_as_it_was_read() {
        for name in ["rabbitmq", "rabbitmq@faults", "rabbitmq-cluster/2", "rabbitmq-cluster@a-1/3"]
        {
            assert_eq!(name.parse::<Name>().unwrap().to_string(), name);
        }
        let name: Name = "rabbitmq-cluster@a/3".parse().unwrap();
        assert_eq!((name.service().as_str(), name.member), ("rabbitmq-cluster@a", Some(3)));
    }

    #[test]
    fn an_unknown_kind_is_refused_with_the_known_ones() {
        let known = "no server is named rabbit; known are: postgres, rabbitmq, rabbitmq-cluster";
        assert_eq!(refused("rabbit"), known);
        assert_eq!(refused("rabbit@x/1"), known);
    }

    #[test]
    fn an_instance_that_is_no_word_and_a_member_that_is_no_number_are_refused() {
        for name in ["rabbitmq@", "rabbitmq@../x", "rabbitmq@A", "rabbitmq@a@b"] {
            assert!(refused(name).contains("after `@` comes a word"), "{name}");
        }
        for name in ["rabbitmq/0", "rabbitmq/x", "rabbitmq/"] {
            assert!(refused(name).contains("after `/` comes a member's number"), "{name}");
        }
    }
}
