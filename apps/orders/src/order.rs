//! An order, and what makes one valid, wherever it comes from.

use crate::money::{Money, NoMoney};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

/// A valid order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) order_id: i64,
    pub(crate) user_id: i64,
    pub(crate) date: Date,
    pub(crate) units: i64,
    /// Zero and less is accepted here: whether there is something to charge is for payment to say.
    pub(crate) total: Money,
}

/// The fields of an order as somebody wrote them.
#[derive(Clone, Debug)]
pub(crate) struct Written<'a> {
    pub(crate) order_id: Token<'a>,
    pub(crate) user_id: Token<'a>,
    pub(crate) date: Token<'a>,
    pub(crate) units: Token<'a>,
    pub(crate) total: Token<'a>,
}

impl<'a> Written<'a> {
    /// The fields in their order, of a format that has no types.
    pub(crate) fn bare(fields: [&'a str; 5]) -> Self {
        let [order_id, user_id, date, units, total] = fields.map(Token::Bare);
        Self { order_id, user_id, date, units, total }
    }
}

/// One field as it was written.
#[derive(Clone, Debug)]
pub(crate) enum Token<'a> {
    Missing,
    /// Of a format that has no types.
    Bare(&'a str),
    Number(&'a str),
    Text(Cow<'a, str>),
    /// A list, an object or a truth value.
    Other(&'a str),
}

/// As a part of an error: short, whatever was written.
impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CHARS_MAX: usize = 40;
        let brief = |text: &str| text.chars().take(CHARS_MAX).collect::<String>();
        match self {
            Self::Missing => f.write_str("nothing"),
            Self::Bare(text) | Self::Number(text) | Self::Other(text) => f.write_str(&brief(text)),
            Self::Text(text) => write!(f, "{:?}", brief(text)),
        }
    }
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) field: &'static str,
    pub(crate) why: String,
}

impl Fault {
    pub(crate) fn new(field: &'static str, why: impl Into<String>) -> Self {
        Self { field, why: why.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.field, self.why)
    }
}

const IDS: RangeInclusive<i64> = 1..=i64::MAX;
/// The bounds are far from what an `i64` can hold, so that sums over all orders fit into one.
const UNITS: RangeInclusive<i64> = 0..=1_000_000;
const TOTAL_MAX: Money = Money::of_cents(100_000_000_000);

impl Order {
    /// The order that `written` says, or everything that is wrong with it.
    pub(crate) fn read(written: &Written<'_>) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut field = |name, why| faults.push(Fault::new(name, why));
        let order_id = whole(&written.order_id, IDS).map_err(|why| field("order_id", why));
        let user_id = whole(&written.user_id, IDS).map_err(|why| field("user_id", why));
        let date = date(&written.date).map_err(|why| field("date", why));
        let units = whole(&written.units, UNITS).map_err(|why| field("units", why));
        let total = total(&written.total).map_err(|why| field("total", why));
        match (order_id, user_id, date, units, total) {
            (Ok(order_id), Ok(user_id), Ok(date), Ok(units), Ok(total)) => {
                Ok(Self { order_id, user_id, date, units, total })
            }
            _ => Err(faults),
        }
    }

    /// Whether payment will find something to charge.
    pub(crate) fn is_chargeable(&self) -> bool {
        self.total > Money::ZERO
    }
}

fn whole(token: &Token<'_>, range: RangeInclusive<i64>) -> Result<i64, String> {
    let number = match token {
        Token::Bare(text) | Token::Number(text) => text.parse().ok(),
        Token::Missing => return Err(missing()),
        Token::Text(_) | Token::Other(_) => None,
    };
    number.filter(|number| range.contains(number)).ok_or_else(|| {
        format!("must be a whole number from {} to {}, not {token}", range.start(), range.end())
    })
}

fn date(token: &Token<'_>) -> Result<Date, String> {
    let text = match token {
        Token::Bare(text) => Some(*text),
        Token::Text(text) => Some(&**text),
        Token::Missing => return Err(missing()),
        Token::Number(_) | Token::Other(_) => None,
    };
    // The parser is generous: what is not written back as it came is in another format.
    let date = text.and_then(|text| text.parse().ok().filter(|d: &Date| d.to_string() == text));
    date.ok_or_else(|| format!("must be a day such as \"1997-01-31\", not {token}"))
}

fn total(token: &Token<'_>) -> Result<Money, String> {
    let read = match token {
        Token::Bare(text) | Token::Number(text) => text.parse(),
        Token::Text(text) => text.parse(),
        Token::Missing => return Err(missing()),
        Token::Other(_) => Err(NoMoney::Malformed),
    };
    let total: Money = read.map_err(|why| format!("{why}, not {token}"))?;
    if total.cents.abs() > TOTAL_MAX.cents {
        return Err(format!("must be within ±{TOTAL_MAX}, not {token}"));
    }
    Ok(total)
}

fn missing() -> String {
    "is missing".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Token::Bare;

    const SOUND: Written<'static> = Written {
        order_id: Bare("1"),
        user_id: Bare("2"),
        date: Bare("1997-01-31"),
        units: Bare("3"),
        total: Bare("11.77"),
    };

    fn fault(written: Written<'_>) -> String {
        let faults = Order::read(&written).unwrap_err();
        faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_sound_order_is_read() {
        let order = Order::read(&SOUND).unwrap();
        assert_eq!((order.order_id, order.user_id, order.units), (1, 2, 3));
        assert_eq!((order.date.to_string().as_str(), order.total.cents), ("1997-01-31", 1177));
    }

    #[test]
    fn each_field_is_refused_with_its_name_and_its_value() {
        for order_id in ["0", "-1", "9223372036854775808", "1.0", "", "x"] {
            let text = fault(Written { order_id: Bare(order_id), ..SOUND });
            assert!(text.starts_with("`order_id` must be a whole number from 1 to"), "{text}");
        }
        for date in ["1997-02-30", "1997-13-01", "19970131", "1997-1-31", "1997-01-31T00:00", ""] {
            let text = fault(Written { date: Bare(date), ..SOUND });
            assert!(text.starts_with("`date` must be a day such as"), "{text}");
        }
        assert!(fault(Written { units: Bare("-1"), ..SOUND }).ends_with("not -1"));
        assert!(fault(Written { total: Bare("1.005"), ..SOUND }).contains("at most two decimals"));
        assert!(fault(Written { total: Bare("1e2"), ..SOUND }).contains("such as 11.77"));
        assert!(fault(Written { total: Bare("1000000000.01"), ..SOUND }).contains("within"));
    }

    #[test]
    fn types_count_where_the_format_has_them() {
        let order = |order_id, date, total| {
            Order::read(&Written { order_id, date, total, ..SOUND }).map_err(|faults| faults.len())
        };
        let text = |text| Token::Text(Cow::Borrowed(text));
        let (id, day) = (Token::Number("1"), text("1997-01-31"));
        assert!(order(id.clone(), day.clone(), text("1.00")).is_ok());
        assert!(order(id.clone(), day.clone(), Token::Number("1.00")).is_ok());
        assert_eq!(order(text("1"), Token::Number("1997"), Token::Other("[]")), Err(3));
        assert_eq!(order(Token::Missing, Token::Missing, Token::Missing), Err(3));
    }

    #[test]
    fn all_faults_are_told_at_once_and_briefly() {
        let long = "9".repeat(1000);
        let text = fault(Written { units: Bare(&long), user_id: Token::Missing, ..SOUND });
        assert!(text.starts_with("`user_id` is missing; `units` must be"), "{text}");
        assert!(text.len() < 200);
    }

    #[test]
    fn nothing_and_less_can_be_ordered_but_not_charged() {
        for (total, chargeable) in [("0.00", false), ("-1.00", false), ("0.01", true)] {
            let order = Order::read(&Written { total: Bare(total), ..SOUND }).unwrap();
            assert_eq!(order.is_chargeable(), chargeable, "{total}");
        }
    }
}
