//! What a queue's specification says in arguments of this broker. Pure.

use std::collections::BTreeMap;
use tramline_core::capabilities::Ordering;
use tramline_core::headers::HeaderValue;
use tramline_core::topology::QueueSpec;

/// The arguments of our own that a queue's specification may have, besides those of the broker.
const KNOWN: [&str; 6] =
    ["queue-type", "durable", "exclusive", "auto-delete", "dead-letter-queue", "declare"];

/// Lets one consumer at a time get messages.
const SINGLE_ACTIVE_CONSUMER: &str = "x-single-active-consumer";

/// The longest name that the protocol can say.
const NAME_BYTES_MAX: usize = 255;

/// Which of the broker's kinds of queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueueKind {
    /// Replicated, and counts deliveries.
    Quorum,
    /// On one node; has priorities.
    Classic,
}

impl QueueKind {
    /// What `spec` asks for: a quorum queue, unless it says otherwise or is temporary.
    pub(crate) fn of(spec: &QueueSpec) -> Self {
        match spec.arguments.get("queue-type").map(String::as_str) {
            Some("classic") => Self::Classic,
            None if spec.temporary => Self::Classic,
            _ => Self::Quorum,
        }
    }

    /// As [`of`](Self::of), if that is certain: of what kind a queue is that was there before, the broker
    /// says to nobody.
    pub(crate) fn known(spec: &QueueSpec) -> Option<Self> {
        let said = |name: &str| spec.arguments.contains_key(name);
        (said("queue-type") || !said("declare")).then(|| Self::of(spec))
    }

    /// As the broker names it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Quorum => "quorum",
            Self::Classic => "classic",
        }
    }
}

/// The arguments of a queue's specification, understood.
#[derive(Debug)]
pub(super) struct QueueArguments<'a> {
    pub(super) kind: QueueKind,
    pub(super) durable: bool,
    pub(super) exclusive: bool,
    pub(super) auto_delete: bool,
    /// The name of its dead-letter queue, by choice.
    pub(super) dead: Option<&'a str>,
    /// It is there already, and is used as it is.
    pub(super) joined: bool,
    /// What goes to the broker as it is.
    pub(super) native: BTreeMap<&'a str, HeaderValue>,
}

/// What speaks against a specification.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Faults {
    /// What this broker does not offer.
    pub(super) unsupported: Vec<String>,
    /// What cannot be right.
    pub(super) wrong: Vec<String>,
}

impl Faults {
    pub(super) fn is_empty(&self) -> bool {
        self.unsupported.is_empty() && self.wrong.is_empty()
    }

    pub(super) fn extend(&mut self, others: Self) {
        self.unsupported.extend(others.unsupported);
        self.wrong.extend(others.wrong);
    }
}

/// What `spec` asks for.
///
/// # Errors
/// Everything that speaks against it, each with the queue's name.
pub(super) fn queue_arguments(spec: &QueueSpec) -> Result<QueueArguments<'_>, Faults> {
    let mut wrong = Vec::new();
    let mut arguments = QueueArguments {
        kind: QueueKind::of(spec),
        durable: !spec.temporary,
        exclusive: spec.temporary,
        auto_delete: spec.temporary,
        dead: None,
        joined: false,
        native: BTreeMap::new(),
    };
    for (name, text) in &spec.arguments {
        if let Err(why) = arguments.read(name, text) {
            wrong.push(why);
        }
    }
    wrong.extend(arguments.contradictions(spec));
    let mut faults = Faults { unsupported: unsupported(spec, arguments.kind), wrong };
    if faults.is_empty() {
        return Ok(arguments);
    }
    let named = |what: &mut String| *what = format!("{what} for queue {}", spec.name);
    faults.unsupported.iter_mut().for_each(named);
    faults.wrong.iter_mut().for_each(|what| *what = format!("queue {}: {what}", spec.name));
    Err(faults)
}

impl<'a> QueueArguments<'a> {
    fn read(&mut self, name: &'a str, text: &'a str) -> Result<(), String> {
        match name {
            "queue-type" if matches!(text, "quorum" | "classic") => {}
            "queue-type" => {
                return Err(format!("`queue-type` is {text:?}, not `quorum` or `classic`"));
            }
            "durable" => self.durable = truth(name, text)?,
            "exclusive" => self.exclusive = truth(name, text)?,
            "auto-delete" => self.auto_delete = truth(name, text)?,
            "dead-letter-queue" if !text.is_empty() => self.dead = Some(text),
            "dead-letter-queue" => return Err("`dead-letter-queue` is empty".to_owned()),
            "declare" if text == "no" => self.joined = true,
            "declare" => return Err(format!("`declare` is {text:?}, which can only be `no`")),
            "x-queue-type" => return Err("say `queue-type`, not `x-queue-type`".to_owned()),
            _ if name.len() > NAME_BYTES_MAX => {
                return Err(format!("an argument's name has over {NAME_BYTES_MAX} bytes"));
            }
            SINGLE_ACTIVE_CONSUMER => {
                self.native.insert(name, HeaderValue::Bool(truth(name, text)?));
            }
            _ if name.starts_with("x-") => {
                self.native.insert(name, value(text));
            }
            _ => {
                let known = KNOWN.join(", ");
                return Err(format!("there is no argument {name:?}, only {known} and x-…"));
            }
        }
        Ok(())
    }

    fn contradictions(&self, spec: &QueueSpec) -> Vec<String> {
        let transient = !self.durable || self.exclusive || self.auto_delete;
        let said = |name: &str| spec.arguments.contains_key(name);
        let by_field = [
            ("x-max-priority", spec.priority_max.is_some(), "priority_max"),
            ("x-max-length", spec.length_max.is_some(), "length_max"),
            ("x-overflow", spec.length_max.is_some(), "length_max"),
            ("x-delivery-limit", spec.delivery_limit.is_some(), "delivery_limit"),
            (SINGLE_ACTIVE_CONSUMER, spec.ordering != Ordering::None && !self.joined, "ordering"),
            ("x-dead-letter-exchange", self.dead.is_some(), "dead-letter-queue"),
            ("x-dead-letter-routing-key", self.dead.is_some(), "dead-letter-queue"),
        ];
        let twice = by_field.into_iter().filter(|(name, field, _)| *field && said(name));
        let twice = twice.map(|(name, _, field)| format!("`{name}` and `{field}` say the same"));
        let lasting = self.kind == QueueKind::Quorum && transient && !self.joined;
        let lasting = lasting.then(|| {
            "`durable=false`, `exclusive` and `auto-delete` need `queue-type=classic`".to_owned()
        });
        let temporary = spec.temporary
            && ["queue-type", "durable", "exclusive", "auto-delete", "declare"]
                .map(said)
                .contains(&true);
        let temporary = temporary.then(|| {
            "a temporary queue is classic, exclusive and auto-delete, and never `declare=no`"
                .to_owned()
        });
        twice.chain(lasting).chain(temporary).chain(self.not_to_be_asked(spec)).collect()
    }

    /// What cannot be asked of a queue that is used as it is. That it has a single active consumer is not
    /// asked: its owner has seen to that, and whoever joins says that he knows.
    fn not_to_be_asked(&self, spec: &QueueSpec) -> Option<String> {
        let has_single = self.native.get(SINGLE_ACTIVE_CONSUMER) == Some(&HeaderValue::Bool(true));
        let fields = [
            (
                spec.ordering != Ordering::None && !has_single,
                "ordering (say `x-single-active-consumer=true` if it was declared with that)",
            ),
            (spec.priority_max.is_some(), "priority_max"),
            (spec.length_max.is_some(), "length_max"),
            (spec.delivery_limit.is_some(), "delivery_limit"),
        ];
        let fields = fields.into_iter().filter(|(asked, _)| *asked).map(|(_, name)| name);
        let flags = ["durable", "exclusive", "auto-delete"].into_iter();
        let flags = flags.filter(|name| spec.arguments.contains_key(*name));
        let native = self.native.keys().copied().filter(|name| *name != SINGLE_ACTIVE_CONSUMER);
        let asked: Vec<_> = fields.chain(flags).chain(native).collect();
        (self.joined && !asked.is_empty()).then(|| {
            format!(
                "with `declare=no` it is used as it is, and cannot be asked for {}",
                asked.join(", ")
            )
        })
    }
}

/// Whether a queue can be full. What the broker then refuses is not asked again.
pub(super) fn is_limited(spec: &QueueSpec) -> bool {
    let limits = ["x-max-length", "x-max-length-bytes"];
    spec.length_max.is_some() || limits.iter().any(|name| spec.arguments.contains_key(*name))
}

fn unsupported(spec: &QueueSpec, kind: QueueKind) -> Vec<String> {
    let classic = kind == QueueKind::Classic;
    let asked = [
        (spec.priority_max.is_some() && !classic, "priorities (`queue-type=classic` has them)"),
        (spec.delivery_limit.is_some() && classic, "a delivery limit (quorum queues have it)"),
        (spec.dedup_window.is_some(), "deduplication"),
        (spec.unique, "unique messages"),
        (spec.keep_completed.is_some(), "to keep handled messages"),
        (
            spec.keep_dead.is_some_and(|keep| keep.as_millis() > TTL_MILLIS_MAX),
            "to forget dead letters after more than 49 days",
        ),
    ];
    asked.into_iter().filter(|(asked, _)| *asked).map(|(_, what)| what.to_owned()).collect()
}

/// The longest time that the broker counts.
const TTL_MILLIS_MAX: u128 = u32::MAX as u128;

fn truth(name: &str, text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("`{name}` is {text:?}, not `true` or `false`"))
}

/// A whole number, true or false, else text.
fn value(text: &str) -> HeaderValue {
    match (text.parse::<i64>(), text.parse::<bool>()) {
        (Ok(number), _) => HeaderValue::Int(number),
        (_, Ok(truth)) => HeaderValue::Bool(truth),
        _ => HeaderValue::from(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tramline_core::name::QueueName;

    fn spec<const N: usize>(arguments: [(&str, &str); N]) -> QueueSpec {
        let arguments = arguments.map(|(name, text)| (name.to_owned(), text.to_owned()));
        QueueSpec { arguments: arguments.into(), ..QueueSpec::new(QueueName::foreign("work")) }
    }

    fn faults(spec: &QueueSpec) -> Faults {
        queue_arguments(spec)
            .map(|arguments| format!("{arguments:?}"))
            .expect_err("expected faults")
    }

    #[test]
    fn arguments_are_understood() {
        let spec = spec([
            ("queue-type", "classic"),
            ("durable", "false"),
            ("auto-delete", "true"),
            ("dead-letter-queue", "Morgue"),
            ("x-max-length-bytes", "1000"),
            ("x-flag", "true"),
            ("x-queue-mode", "lazy"),
        ]);
        let understood = queue_arguments(&spec).unwrap();
        assert_eq!((understood.kind, understood.dead), (QueueKind::Classic, Some("Morgue")));
        assert_eq!(
            (understood.durable, understood.exclusive, understood.auto_delete),
            (false, false, true)
        );
        let native: Vec<_> = understood.native.into_iter().collect();
        assert_eq!(
            native,
            [
                ("x-flag", HeaderValue::Bool(true)),
                ("x-max-length-bytes", HeaderValue::Int(1000)),
                ("x-queue-mode", HeaderValue::from("lazy")),
            ]
        );
    }

    #[test]
    fn whoever_joins_a_queue_may_say_that_it_has_a_single_active_consumer_and_then_rely_on_its_order()
     {
        let joined = || spec([("declare", "no"), (SINGLE_ACTIVE_CONSUMER, "true")]);
        for ordering in [Ordering::None, Ordering::PerKey, Ordering::PerQueue] {
            assert!(queue_arguments(&QueueSpec { ordering, ..joined() }).is_ok(), "{ordering:?}");
        }
    }

    #[test]
    fn what_is_not_understood_or_contradicts_itself_is_refused_with_the_queue_named() {
        for (spec, reason) in [
            (spec([("lazy", "true")]), "no argument \"lazy\", only queue-type, durable, exclusive"),
            (spec([("queue-type", "stream")]), "\"stream\", not `quorum` or `classic`"),
            (spec([("x-queue-type", "classic")]), "say `queue-type`"),
            (spec([("declare", "yes")]), "only be `no`"),
            (spec([("exclusive", "maybe"), ("queue-type", "classic")]), "not `true` or `false`"),
            (spec([("dead-letter-queue", "")]), "empty"),
            (spec([("durable", "false")]), "need `queue-type=classic`"),
            (spec([("declare", "no"), ("x-max-length", "5")]), "cannot be asked for x-max-length"),
            (
                QueueSpec { ordering: Ordering::PerKey, ..spec([("declare", "no")]) },
                "cannot be asked for ordering (say `x-single-active-consumer=true`",
            ),
            (
                QueueSpec {
                    ordering: Ordering::PerKey,
                    ..spec([("declare", "no"), (SINGLE_ACTIVE_CONSUMER, "false")])
                },
                "cannot be asked for ordering",
            ),
            (
                QueueSpec {
                    ordering: Ordering::PerKey,
                    ..spec([(SINGLE_ACTIVE_CONSUMER, "true")])
                },
                "`x-single-active-consumer` and `ordering` say the same",
            ),
            (spec([(SINGLE_ACTIVE_CONSUMER, "yes")]), "not `true` or `false`"),
            (
                QueueSpec { length_max: Some(5), ..spec([("x-max-length", "6")]) },
                "`x-max-length` and `length_max` say the same",
            ),
            (
                QueueSpec { temporary: true, ..spec([("durable", "true")]) },
                "a temporary queue is classic",
            ),
        ] {
            let faults = faults(&spec);
            assert!(faults.unsupported.is_empty(), "{faults:?}");
            let text = faults.wrong.join("; ");
            assert!(text.contains(reason) && text.contains("work"), "{text}");
        }
    }

    #[test]
    fn what_the_broker_does_not_offer_is_refused_by_name() {
        let classic = || spec([("queue-type", "classic")]);
        let second = Some(Duration::from_secs(1));
        let day = Duration::from_secs(24 * 3600);
        for (spec, what) in [
            (QueueSpec { priority_max: Some(5), ..spec([]) }, "priorities"),
            (QueueSpec { delivery_limit: Some(5), ..classic() }, "a delivery limit"),
            (QueueSpec { dedup_window: second, ..spec([]) }, "deduplication"),
            (QueueSpec { unique: true, ..spec([]) }, "unique messages"),
            (QueueSpec { keep_completed: second, ..spec([]) }, "to keep handled messages"),
            (QueueSpec { keep_dead: Some(day * 50), ..spec([]) }, "more than 49 days"),
        ] {
            let faults = faults(&spec);
            assert!(faults.wrong.is_empty(), "{faults:?}");
            let text = faults.unsupported.join("; ");
            assert!(text.contains(what) && text.contains("work"), "{text}");
        }
        assert!(queue_arguments(&QueueSpec { priority_max: Some(5), ..classic() }).is_ok());
        assert!(queue_arguments(&QueueSpec { keep_dead: Some(day * 49), ..spec([]) }).is_ok());
    }
}
