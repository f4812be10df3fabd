//! Which bindings a subscription needs. Pure.
//!
//! Subject patterns mean the same in a topic exchange. What compares more than one pattern, or
//! headers, takes an exchange in between, to which the topic's exchange leads by the rule's subject.

use crate::capabilities::FILTERS;
use crate::names::OWN_PREFIX;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tramline_core::digest::fnv1a;
use tramline_core::filter::{Filter, HeadersFilter, HeadersMatch, SubjectPattern};
use tramline_core::headers::HeaderValue;
use tramline_core::name::TopicName;
use tramline_core::topology::Rule;

/// One way from a topic to a queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TopicBinding {
    /// The topic.
    pub(crate) topic: TopicName,
    /// An exchange between the topic's and the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) between: Option<Between>,
    /// The binding's key.
    pub(crate) key: String,
    /// Headers that are compared, and how.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) arguments: BTreeMap<String, HeaderValue>,
}

/// An exchange to which a topic's leads what matches a pattern.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Between {
    /// Its name.
    pub(crate) exchange: String,
    /// What it compares.
    pub(crate) kind: BetweenKind,
    /// What is led to it.
    pub(crate) pattern: String,
}

/// What an exchange in between compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BetweenKind {
    /// A second pattern.
    Topic,
    /// Headers.
    Headers,
}

impl BetweenKind {
    /// As the protocol names it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Headers => "headers",
        }
    }
}

impl TopicBinding {
    /// The exchange that the queue is bound to.
    pub(crate) fn exchange(&self) -> &str {
        self.between.as_ref().map_or(self.topic.as_str(), |between| &between.exchange)
    }
}

/// The bindings by which a queue gets what any of `rules` lets through; each once. Rules that do
/// not compile have none.
pub(crate) fn topic_bindings(topic: &TopicName, rules: &[Rule]) -> Vec<TopicBinding> {
    let mut bindings: Vec<TopicBinding> = Vec::new();
    for binding in rules.iter().flat_map(|rule| of_rule(topic, rule)) {
        if !bindings.contains(&binding) {
            bindings.push(binding);
        }
    }
    bindings
}

fn of_rule(topic: &TopicName, rule: &Rule) -> Vec<TopicBinding> {
    let (topic, subject) = (topic.clone(), rule.subject.as_str());
    let by_key = |key: &str| TopicBinding {
        topic: topic.clone(),
        between: None,
        key: key.to_owned(),
        arguments: BTreeMap::new(),
    };
    match &rule.filter {
        Filter::Subject(pattern) => match both(subject, pattern) {
            Both::Key(key) => vec![by_key(key)],
            Both::Never => Vec::new(),
            Both::Apart => {
                let between = between(&topic, BetweenKind::Topic, subject);
                vec![TopicBinding { between: Some(between), ..by_key(pattern) }]
            }
        },
        Filter::Headers(headers) if FILTERS.of(&rule.filter).is_native() => {
            let between = between(&topic, BetweenKind::Headers, subject);
            let alternatives = alternatives(headers).into_iter();
            let binding = |arguments| TopicBinding {
                between: Some(between.clone()),
                arguments,
                ..by_key("")
            };
            alternatives.map(binding).collect()
        }
        // The endpoint looks at the rest.
        Filter::All | Filter::Headers(_) | Filter::Sql(_) => vec![by_key(subject)],
    }
}

/// Two patterns that a subject must match both.
enum Both<'a> {
    /// As one pattern.
    Key(&'a str),
    /// There is no such subject.
    Never,
    /// Compared one after the other.
    Apart,
}

fn both<'a>(one: &'a str, other: &'a str) -> Both<'a> {
    let is_word = |pattern: &str| !pattern.split('.').any(|word| matches!(word, "*" | "#"));
    let (Ok(first), Ok(second)) = (SubjectPattern::parse(one), SubjectPattern::parse(other)) else {
        return Both::Never;
    };
    match () {
        () if one == other || other == "#" => Both::Key(one),
        () if one == "#" => Both::Key(other),
        () if is_word(one) && second.matches(one) => Both::Key(one),
        () if is_word(other) && first.matches(other) => Both::Key(other),
        () if is_word(one) || is_word(other) => Both::Never,
        () => Both::Apart,
    }
}

/// The arguments of the bindings that compare `headers` together.
///
/// A binding's arguments hold each name once. So "any of" is one binding for each pair, and "all of"
/// two values under one name is none.
fn alternatives(headers: &HeadersFilter) -> Vec<BTreeMap<String, HeaderValue>> {
    let matching = || [("x-match".to_owned(), HeaderValue::from("all"))];
    match headers.mode {
        HeadersMatch::Any => {
            let pairs = headers.pairs.iter().cloned();
            pairs.map(|pair| matching().into_iter().chain([pair]).collect()).collect()
        }
        HeadersMatch::All => {
            let mut arguments = BTreeMap::from(matching());
            for (name, value) in &headers.pairs {
                let before = arguments.insert(name.clone(), value.clone());
                if before.is_some_and(|before| before != *value) {
                    return Vec::new();
                }
            }
            vec![arguments]
        }
    }
}

fn between(topic: &TopicName, kind: BetweenKind, pattern: &str) -> Between {
    let exchange = between_name(topic.as_str(), kind, pattern);
    Between { exchange, kind, pattern: pattern.to_owned() }
}

/// The name says what the exchange is for, so that whoever needs the same one has it. It is not the
/// name of any topic, nor that of another one in between.
fn between_name(topic: &str, kind: BetweenKind, pattern: &str) -> String {
    const BYTES_MAX: usize = 255;
    let topic = topic.replace('%', "%25").replace(':', "%3A");
    let name = format!("{OWN_PREFIX}{}:{topic}:{pattern}", kind.as_str());
    if name.len() <= BYTES_MAX {
        return name;
    }
    format!("{OWN_PREFIX}{}:{:016x}", kind.as_str(), fnv1a(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(subject: &str, filter: Filter) -> Vec<String> {
        let topic = TopicName::foreign("orders");
        let bindings = topic_bindings(&topic, &[Rule { subject: subject.to_owned(), filter }]);
        bindings.iter().map(shown).collect()
    }

    fn shown(binding: &TopicBinding) -> String {
        let arguments = binding.arguments.iter().filter(|(name, _)| *name != "x-match");
        let arguments: Vec<_> =
            arguments.map(|(name, value)| format!("{name}={}", value.as_text().unwrap())).collect();
        format!("{} {} {}", binding.exchange(), binding.key, arguments.join(","))
            .trim_end()
            .to_owned()
    }

    #[test]
    fn a_subject_is_the_key_of_a_binding() {
        assert_eq!(of("orders.*", Filter::All), ["orders orders.*"]);
        assert_eq!(of("#", Filter::sql("total > 1000")), ["orders #"]);
    }

    #[test]
    fn two_patterns_are_one_where_one_of_them_says_all() {
        for (subject, filter, key) in [
            ("#", "orders.*", Some("orders.*")),
            ("orders.*", "#", Some("orders.*")),
            ("orders.*", "orders.*", Some("orders.*")),
            ("orders.placed", "orders.*", Some("orders.placed")),
            ("orders.*", "orders.placed", Some("orders.placed")),
            ("orders.placed", "stock.*", None),
            ("orders.*", "stock", None),
        ] {
            let expected: Vec<String> = key.iter().map(|key| format!("orders {key}")).collect();
            assert_eq!(of(subject, Filter::subject(filter)), expected, "{subject} and {filter}");
        }
        let apart = of("orders.*", Filter::subject("*.placed"));
        assert_eq!(apart, ["tramline.topic:orders:orders.* *.placed"]);
    }

    #[test]
    fn headers_are_compared_behind_the_subject() {
        let all = Filter::headers_all([("region", "eu"), ("tier", "gold")]);
        assert_eq!(of("#", all.clone()), ["tramline.headers:orders:#  region=eu,tier=gold"]);
        assert_eq!(of("a.*", all), ["tramline.headers:orders:a.*  region=eu,tier=gold"]);
        let any = Filter::headers_any([("region", "eu"), ("region", "uk")]);
        let exchange = "tramline.headers:orders:#";
        let expected = [format!("{exchange}  region=eu"), format!("{exchange}  region=uk")];
        assert_eq!(of("#", any), expected);
        // Nothing has two values under one name.
        assert!(of("#", Filter::headers_all([("region", "eu"), ("region", "uk")])).is_empty());
    }

    #[test]
    fn headers_that_the_broker_compares_otherwise_are_left_to_the_endpoint() {
        assert_eq!(of("a.*", Filter::headers_all([("level", 7)])), ["orders a.*"]);
        assert_eq!(of("#", Filter::headers_any([("x-region", "eu")])), ["orders #"]);
    }

    #[test]
    fn rules_that_need_the_same_share_it() {
        let topic = TopicName::foreign("orders");
        let rules = [Rule::subject("#"), Rule::subject("#"), Rule::subject("orders.*")];
        let rules = topic_bindings(&topic, &rules);
        assert_eq!(rules.iter().map(shown).collect::<Vec<_>>(), ["orders #", "orders orders.*"]);
    }

    #[test]
    fn exchanges_in_between_have_names_of_their_own_however_topics_are_named() {
        let name = |topic, pattern| between_name(topic, BetweenKind::Headers, pattern);
        assert_ne!(name("a:b", "c"), name("a", "b:c"));
        assert_ne!(name("a%3A", "c"), name("a:", "c"));
        let long = "x.".repeat(150) + "#";
        assert!(name("orders", &long).len() <= 255);
        assert_ne!(name("orders", &long), name("others", &long));
    }
}
