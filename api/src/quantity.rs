//! Quantities of resources: `100m`, `1.5Gi`, `1e3`.
//!
//! Owns parsing, comparing, adding and the canonical text. A value is held exactly, in units of 10⁻⁹,
//! which is as fine as the API gets; finer ones are rounded away from zero and none grows past 2⁶³-1.
//! Counterpart of upstream's `apimachinery/pkg/api/resource`.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    iter::Sum,
    ops::{Add, AddAssign, Neg, Sub, SubAssign},
    str::FromStr,
};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

const NANOS: i128 = 1_000_000_000;
const MAX: i128 = i64::MAX as i128 * NANOS;

/// How a quantity was written, and is written again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// `12`, `100m`, `5M`
    #[default]
    DecimalSi,
    /// `1Gi`
    BinarySi,
    /// `1e3`
    DecimalExponent,
}

/// An amount of something.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// Why a text is no quantity, in upstream's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// It does not look like one.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// The number cannot be read.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    /// The suffix is none of those that exist.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// What a suffix stands for: a power of ten or of two.
enum Unit {
    Ten(i64, Format),
    Two(u32),
}

fn unit(suffix: &str) -> Option<Unit> {
    let ten = |e| Some(Unit::Ten(e, Format::DecimalSi));
    match suffix {
        "n" => ten(-9),
        "u" => ten(-6),
        "m" => ten(-3),
        "" => ten(0),
        "k" => ten(3),
        "M" => ten(6),
        "G" => ten(9),
        "T" => ten(12),
        "P" => ten(15),
        "E" => ten(18),
        "Ki" => Some(Unit::Two(10)),
        "Mi" => Some(Unit::Two(20)),
        "Gi" => Some(Unit::Two(30)),
        "Ti" => Some(Unit::Two(40)),
        "Pi" => Some(Unit::Two(50)),
        "Ei" => Some(Unit::Two(60)),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            Some(Unit::Ten(exponent.parse().ok()?, Format::DecimalExponent))
        }
    }
}

/// Division of non-negative numbers that rounds up.
fn div_up(a: i128, b: i128) -> i128 {
    (a + b - 1) / b
}

impl FromStr for Quantity {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.is_empty() {
            return Err(ParseError::Format);
        }
        let (negative, unsigned) = match text.as_bytes()[0] {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, rest) = unsigned.split_at(digits(unsigned));
        let (fraction, suffix) = match rest.strip_prefix('.') {
            Some(rest) => rest.split_at(digits(rest)),
            None => ("", rest),
        };
        let letters = suffix.bytes().take_while(|b| b"eEinumkKMGTP".contains(b)).count();
        let tail = &suffix[letters..];
        let tail = tail.strip_prefix(['-', '+']).unwrap_or(tail);
        if digits(tail) != tail.len() {
            return Err(ParseError::Format);
        }
        let unit = unit(suffix).ok_or(ParseError::Suffix)?;
        let (nanos, format) = match unit {
            Unit::Ten(exponent, format) => (scaled(whole, fraction, exponent.saturating_add(9)), format),
            Unit::Two(power) => {
                // 2^power units; the fraction is exact in nanos as long as it has nine digits, and
                // rounds up beyond.
                let nanos = scaled(whole, fraction, 9).saturating_mul(1 << power);
                let nanos = if fraction.len() > 9 {
                    // More digits than a nano holds: redo with as many as fit 128 bits.
                    let cut = &fraction[..fraction.len().min(18)];
                    let atto = scaled(whole, cut, 18);
                    atto.checked_mul(1 << power).map_or(nanos, |n| div_up(n, NANOS))
                } else {
                    nanos
                };
                let small = nanos > 0 && nanos < NANOS;
                (nanos, if small { Format::DecimalSi } else { Format::BinarySi })
            }
        };
        let nanos = nanos.min(MAX);
        Ok(Self { nanos: if negative { -nanos } else { nanos }, format })
    }
}

/// `whole.fraction × 10^exponent`, rounded up to an integer, at most a little above [`MAX`].
fn scaled(whole: &str, fraction: &str, exponent: i64) -> i128 {
    let digits = whole.bytes().chain(fraction.bytes()).map(|b| i128::from(b - b'0'));
    let mut exponent = exponent.saturating_sub(i64::try_from(fraction.len()).unwrap_or(i64::MAX));
    let mut value: i128 = 0;
    let mut lost = false;
    for digit in digits {
        if value > MAX * 10 {
            exponent = exponent.saturating_add(1);
            lost |= digit != 0;
        } else {
            value = value * 10 + digit;
        }
    }
    while exponent > 0 && value != 0 && value <= MAX {
        value *= 10;
        exponent -= 1;
    }
    while exponent < 0 && value > 0 {
        lost |= value % 10 != 0;
        value /= 10;
        exponent += 1;
    }
    value + i128::from(lost)
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let whole = self.nanos % NANOS == 0;
        let small = self.nanos.abs() < 1024 * NANOS;
        if self.format == Format::BinarySi && whole && !small {
            let (mut number, mut power) = (self.nanos / NANOS, 0);
            while number % 1024 == 0 && power < 6 {
                number /= 1024;
                power += 1;
            }
            return write!(f, "{number}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][power]);
        }
        let (mut number, mut exponent) = (self.nanos, -9);
        while number % 1000 == 0 && exponent < 18 {
            number /= 1000;
            exponent += 3;
        }
        match (self.format, exponent) {
            (_, 0) => write!(f, "{number}"),
            (Format::DecimalExponent, e) => write!(f, "{number}e{e}"),
            (_, e) => {
                let names = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
                let i = usize::try_from((e + 9) / 3).unwrap_or(0);
                write!(f, "{number}{}", names[i])
            }
        }
    }
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self { nanos: 0, format: Format::DecimalSi };

    /// A whole number of units.
    pub fn whole(units: i64) -> Self {
        Self { nanos: i128::from(units) * NANOS, format: Format::DecimalSi }
    }

    /// A number of thousandths.
    pub fn milli(thousandths: i64) -> Self {
        Self { nanos: i128::from(thousandths) * (NANOS / 1000), format: Format::DecimalSi }
    }

    /// A number of bytes, written with binary suffixes.
    pub fn bytes(bytes: i64) -> Self {
        Self { nanos: i128::from(bytes) * NANOS, format: Format::BinarySi }
    }

    /// Reads the wire type; a text that is no quantity (none is ever stored) counts as zero.
    pub fn of(wire: &Wire) -> Self {
        wire.0.parse().unwrap_or(Self::ZERO)
    }

    /// The wire type, in canonical text.
    pub fn wire(&self) -> Wire {
        Wire(self.to_string())
    }

    /// The value in whole units, rounded up.
    pub fn value(&self) -> i64 {
        self.rounded(NANOS)
    }

    /// The value in thousandths, rounded up.
    pub fn milli_value(&self) -> i64 {
        self.rounded(NANOS / 1000)
    }

    fn rounded(&self, unit: i128) -> i64 {
        let value = if self.nanos >= 0 { div_up(self.nanos, unit) } else { -div_up(-self.nanos, unit) };
        i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
    }

    /// The value as a floating point number.
    #[expect(clippy::cast_precision_loss, reason = "an approximation is what is asked for")]
    pub fn as_f64(&self) -> f64 {
        self.nanos as f64 / NANOS as f64
    }

    /// Rounded up to whole thousandths, as limits and requests are stored.
    pub fn rounded_to_milli(self) -> Self {
        let unit = NANOS / 1000;
        let up = div_up(self.nanos.abs(), unit) * unit;
        Self { nanos: if self.nanos < 0 { -up } else { up }, format: self.format }
    }

    /// Whether it is nothing.
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// Whether it is less than nothing.
    pub fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    /// Whether it is a whole number of units.
    pub fn is_whole(&self) -> bool {
        self.nanos % NANOS == 0
    }

    /// How it is written.
    pub fn format(&self) -> Format {
        self.format
    }

    fn combined(self, other: Self, nanos: i128) -> Self {
        let format = if self.nanos == 0 { other.format } else { self.format };
        Self { nanos: nanos.clamp(-MAX, MAX), format }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl Hash for Quantity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.nanos.hash(state);
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Add for Quantity {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        self.combined(other, self.nanos + other.nanos)
    }
}

impl Sub for Quantity {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.combined(other, self.nanos - other.nanos)
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Neg for Quantity {
    type Output = Self;
    fn neg(self) -> Self {
        Self { nanos: -self.nanos, format: self.format }
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self::ZERO, Add::add)
    }
}

/// So much of a resource, counted as schedulers and nodes count it: cpu in thousandths of a core, all else in
/// whole units, parts of one rounded up. One amount fits 64 bits; sums and differences are exact for more of
/// them than there can be, so nothing that a user asks for makes a full node look empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(i128);

impl Amount {
    /// None of it.
    pub const ZERO: Self = Self(0);

    /// Counts a quantity of a resource.
    pub fn of(resource: &str, quantity: &Quantity) -> Self {
        Self(i128::from(if resource == "cpu" { quantity.milli_value() } else { quantity.value() }))
    }

    /// So many of something that is counted one by one.
    pub fn count(number: usize) -> Self {
        Self(i128::try_from(number).unwrap_or(i128::MAX))
    }
}

impl Add for Amount {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Amount {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests;
