//! Numbers as they are compared and calculated with.

use rust_decimal::Decimal;
use std::cmp::Ordering;
use std::io::Write;

use super::ast::Arithmetic;

/// A number: exact if a decimal can hold it, which has 28 digits or so, else a float.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Exact(Decimal),
    Float(f64),
}

impl Number {
    /// The number that a text is in JSON, if it is one to the last character.
    pub(super) fn from_json(text: &str) -> Option<Self> {
        is_json_number(text.as_bytes()).then(|| Self::from_digits(text))
    }

    /// The number with these digits: `-`, then digits with a point somewhere, then an exponent,
    /// all of them optional but a digit. The caller has checked this.
    pub(super) fn from_digits(text: &str) -> Self {
        match exact(text.as_bytes()) {
            Some(decimal) => Self::Exact(decimal),
            None => Self::Float(text.parse().unwrap_or(f64::NAN)),
        }
    }

    pub(super) fn from_float(float: f64) -> Self {
        let mut text = [0; 32];
        let mut free = &mut text[..];
        // The shortest digits that mean this float, so that a header of 0.1 equals 0.1.
        if !float.is_finite() || write!(free, "{float:e}").is_err() {
            return Self::Float(float);
        }
        let unused = free.len();
        exact(&text[..text.len() - unused]).map_or(Self::Float(float), Self::Exact)
    }

    pub(super) fn is_finite(self) -> bool {
        match self {
            Self::Exact(_) => true,
            Self::Float(float) => float.is_finite(),
        }
    }

    pub(super) fn negative(self) -> Self {
        match self {
            Self::Exact(decimal) => Self::Exact(-decimal),
            Self::Float(float) => Self::Float(-float),
        }
    }

    /// `None` for a division by zero and for a result out of range.
    pub(super) fn calculate(self, by: Arithmetic, right: Self) -> Option<Self> {
        if let (Self::Exact(left), Self::Exact(right)) = (self, right) {
            let result = match by {
                Arithmetic::Add => left.checked_add(right),
                Arithmetic::Subtract => left.checked_sub(right),
                Arithmetic::Multiply => left.checked_mul(right),
                Arithmetic::Divide => left.checked_div(right),
                Arithmetic::Remainder => left.checked_rem(right),
            };
            return result.map(Self::Exact);
        }
        let (left, right) = (self.to_float(), right.to_float());
        let result = match by {
            Arithmetic::Add => left + right,
            Arithmetic::Subtract => left - right,
            Arithmetic::Multiply => left * right,
            Arithmetic::Divide => left / right,
            Arithmetic::Remainder => left % right,
        };
        result.is_finite().then(|| Self::from_float(result))
    }

    fn to_float(self) -> f64 {
        match self {
            // Through its digits, which is rounded only once. A decimal meets a float rarely.
            Self::Exact(decimal) => decimal.to_string().parse().unwrap_or(f64::NAN),
            Self::Float(float) => float,
        }
    }
}

impl From<i64> for Number {
    fn from(int: i64) -> Self {
        Self::Exact(int.into())
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Exact(left), Self::Exact(right)) => Some(left.cmp(right)),
            _ => self.to_float().partial_cmp(&other.to_float()),
        }
    }
}

fn is_json_number(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let (whole, mut rest) = split_digits(text);
    if whole.is_empty() || (whole.len() > 1 && whole[0] == b'0') {
        return false;
    }
    if let [b'.', after @ ..] = rest {
        let (fraction, after) = split_digits(after);
        if fraction.is_empty() {
            return false;
        }
        rest = after;
    }
    if let [b'e' | b'E', after @ ..] = rest {
        let after = if let [b'+' | b'-', after @ ..] = after { after } else { after };
        let (exponent, after) = split_digits(after);
        if exponent.is_empty() {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

fn split_digits(text: &[u8]) -> (&[u8], &[u8]) {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.split_at(digits)
}

/// The decimal that is worth exactly this, if there is one.
fn exact(text: &[u8]) -> Option<Decimal> {
    let (negative, text) = match text {
        [b'-', digits @ ..] => (true, digits),
        _ => (false, text),
    };
    let end = text.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(text.len());
    let (digits, exponent) = (&text[..end], text.get(end + 1..).map_or(0, exponent));

    // Zeros at the end wait until a digit follows: they are worth nothing if none does.
    let (mut mantissa, mut zeros, mut scale) = (0_u128, 0_u32, 0_i64);
    let mut after_point = false;
    for byte in digits {
        if *byte == b'.' {
            after_point = true;
            continue;
        }
        scale += i64::from(after_point);
        match byte - b'0' {
            0 => zeros += u32::from(mantissa != 0),
            digit => {
                mantissa = mantissa.checked_mul(10_u128.checked_pow(zeros + 1)?)?;
                mantissa = mantissa.checked_add(digit.into())?;
                zeros = 0;
            }
        }
    }
    if mantissa == 0 {
        return Some(Decimal::ZERO);
    }
    let tens = exponent.saturating_add(i64::from(zeros)).saturating_sub(scale);
    if tens > 0 {
        mantissa = mantissa.checked_mul(10_u128.checked_pow(tens.try_into().ok()?)?)?;
    }
    let mantissa = i128::try_from(mantissa).ok()?;
    let scale = tens.min(0).unsigned_abs().try_into().ok()?;
    let signed = if negative { -mantissa } else { mantissa };
    Decimal::try_from_i128_with_scale(signed, scale).ok()
}

/// Out of every range rather than wrong if it is too long to read.
fn exponent(text: &[u8]) -> i64 {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] => (1, digits),
        _ => (1, text),
    };
    let add = |sum: i64, byte: &u8| sum.saturating_mul(10).saturating_add((byte - b'0').into());
    sign * digits.iter().fold(0, add).min(i64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn digits_are_read_exactly() {
        for (text, exact) in [
            ("0", "0"),
            ("-0", "0"),
            ("0.0e-999999999999999999999", "0"),
            ("0.1", "0.1"),
            (".5", "0.5"),
            ("007", "7"),
            ("-12.3400", "-12.34"),
            ("1e2", "100"),
            ("1E+2", "100"),
            ("1.5e-3", "0.0015"),
            ("100e-2", "1"),
            ("0.000000000000000000000000000000001e33", "1"),
            ("1000000000000000000000000000000000e-33", "1"),
            ("79228162514264337593543950335", "79228162514264337593543950335"),
            ("7.9228162514264337593543950335", "7.9228162514264337593543950335"),
            ("0.0000000000000000000000000001", "0.0000000000000000000000000001"),
            ("1.00000000000000000000000000000000000000000", "1"),
        ] {
            let expected = Number::Exact(exact.parse().unwrap());
            assert_eq!(Number::from_digits(text), expected, "{text}");
        }
    }

    #[test]
    fn what_no_decimal_holds_is_a_float() {
        for (text, float) in [
            ("79228162514264337593543950336", 79228162514264337593543950336.0),
            ("0.12345678901234567890123456789", 0.123_456_789_012_345_68),
            ("1e29", 1e29),
            ("-1e300", -1e300),
            ("1e-29", 1e-29),
            ("1e999", f64::INFINITY),
            ("1e99999999999999999999999999", f64::INFINITY),
            ("1e-99999999999999999999999999", 0.0),
        ] {
            assert_eq!(Number::from_digits(text), Number::Float(float), "{text}");
        }
    }

    #[test]
    fn a_text_is_a_number_only_if_json_writes_it_so() {
        for text in ["0", "-0", "7", "-7", "10", "1.0", "0.5", "1e5", "1E5", "1e+5", "-1.5e-05"] {
            assert!(Number::from_json(text).is_some(), "{text}");
        }
        for text in [
            "", "-", "+1", "01", "-01", "01234", ".5", "1.", "1.e5", "e5", "1e", "1e+", "1e5.0",
            "1 ", " 1", "1,0", "1_000", "0x10", "NaN", "Infinity", "--1", "1-", "١", "1.5.5",
            "1\n",
        ] {
            assert!(Number::from_json(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_float_is_worth_its_shortest_digits() {
        assert_eq!(Number::from_float(0.1), Number::from_digits("0.1"));
        assert_eq!(Number::from_float(1e21), Number::from_digits("1e21"));
        assert_eq!(Number::from_float(-1234.5), Number::from_digits("-1234.5"));
        assert_eq!(Number::from_float(0.1 + 0.2), Number::from_digits("0.30000000000000004"));
        assert_eq!(Number::from_float(-1.7976931348623157e308), Number::Float(f64::MIN));
    }

    #[test]
    fn beyond_the_range_of_decimals_floats_are_compared() {
        let number = Number::from_digits;
        assert!(number("1e30") > number("79228162514264337593543950335"));
        assert!(number("-1e30") < number("0"));
        assert!(number("1e-40") > number("0"));
        assert!(number("2e-40") > number("1e-40"));
        assert!(number("1e999") > number("1e30"));
        assert_eq!(Number::Float(f64::NAN).partial_cmp(&number("0")), None);
    }

    proptest! {
        #[test]
        fn json_numbers_are_those_that_a_json_parser_reads(text in "-?[0-9.eE+-]{1,6}") {
            let expected = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            prop_assert_eq!(Number::from_json(&text).is_some(), expected);
        }

        #[test]
        fn any_written_decimal_is_read_back(mantissa in any::<i64>(), scale in 0_u32..=28) {
            let decimal = Decimal::from_i128_with_scale(mantissa.into(), scale);
            prop_assert_eq!(Number::from_digits(&decimal.to_string()), Number::Exact(decimal));
            let scientific = format!("{mantissa}E-{scale}");
            prop_assert_eq!(Number::from_digits(&scientific), Number::Exact(decimal));
        }

        #[test]
        fn any_float_compares_equal_to_its_own_digits(float in any::<f64>()) {
            prop_assume!(float.is_finite());
            let digits = Number::from_digits(&float.to_string());
            prop_assert_eq!(Number::from_float(float).partial_cmp(&digits), Some(Ordering::Equal));
        }

        /// The reference multiplies both out to whole numbers, which an `i128` holds.
        #[test]
        fn decimals_compare_and_calculate_like_whole_numbers(
            (left, left_scale) in (any::<i64>(), 0_u32..=18),
            (right, right_scale) in (any::<i64>(), 0_u32..=18),
            is_near in any::<bool>(),
        ) {
            // Of two random numbers the digits hardly ever matter.
            let right = if is_near { left.saturating_add(right % 3) } else { right };
            let right_scale = if is_near { left_scale } else { right_scale };
            let scale = left_scale.max(right_scale);
            let whole = |number: i64, own| i128::from(number) * 10_i128.pow(scale - own);
            let number = |digits: i128, scale| Number::from_digits(&format!("{digits}e-{scale}"));
            let (left_whole, right_whole) = (whole(left, left_scale), whole(right, right_scale));
            let (left, right) =
                (number(left.into(), left_scale), number(right.into(), right_scale));
            prop_assert_eq!(left.partial_cmp(&right), Some(left_whole.cmp(&right_whole)));
            prop_assert_eq!(left == right, left_whole == right_whole);

            let digits_max = Decimal::MAX.mantissa().unsigned_abs();
            let fits = |whole: i128| whole.unsigned_abs() <= digits_max;
            let (sum, difference) = (left_whole + right_whole, left_whole - right_whole);
            if [left_whole, right_whole, sum, difference].into_iter().all(fits) {
                let calculated = |by| left.calculate(by, right);
                prop_assert_eq!(calculated(Arithmetic::Add), Some(number(sum, scale)));
                prop_assert_eq!(calculated(Arithmetic::Subtract), Some(number(difference, scale)));
                let rest = left_whole.checked_rem(right_whole).map(|rest| number(rest, scale));
                prop_assert_eq!(calculated(Arithmetic::Remainder), rest);
            }
        }

        #[test]
        fn no_calculation_panics(left in any::<[u8; 16]>(), right in any::<[u8; 16]>()) {
            let valid = |mut bytes: [u8; 16]| {
                bytes[2] %= 29;
                Number::Exact(Decimal::deserialize(bytes))
            };
            let (left, right) = (valid(left), valid(right));
            for by in [
                Arithmetic::Add,
                Arithmetic::Subtract,
                Arithmetic::Multiply,
                Arithmetic::Divide,
                Arithmetic::Remainder,
            ] {
                left.calculate(by, right);
                left.calculate(by, Number::Float(1e300));
            }
        }
    }
}
