//! Amounts of money: whole cents, written as exact decimals.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// An amount in cents. On the wire it is a text such as `"11.77"`, never a binary fraction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Money {
    pub(crate) cents: i64,
}

impl Money {
    pub(crate) const ZERO: Self = Self { cents: 0 };

    pub(crate) const fn of_cents(cents: i64) -> Self {
        Self { cents }
    }
}

impl std::iter::Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        Self { cents: amounts.map(|amount| amount.cents).sum() }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.cents < 0 { "-" } else { "" };
        let cents = self.cents.unsigned_abs();
        write!(f, "{sign}{}.{:02}", cents / 100, cents % 100)
    }
}

/// A text that is no amount of money, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoMoney {
    Malformed,
    TooManyDecimals,
    TooLarge,
}

impl fmt::Display for NoMoney {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "must be an amount such as 11.77",
            Self::TooManyDecimals => "must have at most two decimals",
            Self::TooLarge => "is more than can be counted",
        })
    }
}

impl std::error::Error for NoMoney {}

/// Digits, and after a point one or two more. No exponent, no blank, no sign but a minus.
impl FromStr for Money {
    type Err = NoMoney;

    fn from_str(text: &str) -> Result<Self, NoMoney> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let (whole, decimals) = match digits.split_once('.') {
            Some((_, "")) => return Err(NoMoney::Malformed),
            Some(parts) => parts,
            None => (digits, ""),
        };
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(decimals) {
            return Err(NoMoney::Malformed);
        }
        if decimals.len() > 2 {
            return Err(NoMoney::TooManyDecimals);
        }
        let cents = format!("{whole}{decimals:0<2}").parse::<i64>();
        let cents = cents.map_err(|_| NoMoney::TooLarge)?;
        Ok(Self { cents: if negative { -cents } else { cents } })
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_written_to_the_cent() {
        for (text, cents, written) in [
            ("11.77", 1177, "11.77"),
            ("0", 0, "0.00"),
            ("7.5", 750, "7.50"),
            ("-0.05", -5, "-0.05"),
            ("0012.30", 1230, "12.30"),
            ("2500315.63", 250_031_563, "2500315.63"),
        ] {
            let money: Money = text.parse().unwrap();
            assert_eq!((money.cents, money.to_string().as_str()), (cents, written), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused_with_the_reason() {
        for text in ["", "-", ".5", "5.", "1e2", "+1", " 1", "1 ", "1,5", "1.2.3", "--1", "0x1"] {
            assert_eq!(text.parse::<Money>(), Err(NoMoney::Malformed), "{text:?}");
        }
        assert_eq!("1.005".parse::<Money>(), Err(NoMoney::TooManyDecimals));
        assert_eq!("99999999999999999999".parse::<Money>(), Err(NoMoney::TooLarge));
    }

    #[test]
    fn json_holds_an_amount_as_text() {
        assert_eq!(serde_json::to_string(&Money::of_cents(1177)).unwrap(), r#""11.77""#);
        assert_eq!(serde_json::from_str::<Money>(r#""11.77""#).unwrap().cents, 1177);
        assert!(serde_json::from_str::<Money>("11.77").is_err());
    }
}
