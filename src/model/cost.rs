//! What a text costs on a channel that is paid by the piece.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An amount of money, to the ten-thousandth. Written `0.35 SEK`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Price {
    ten_thousandths: u64,
    currency: String,
}

/// Ten-thousandths in one.
const ONE: u64 = 10_000;

impl Price {
    /// So many ten-thousandths of a currency.
    pub fn of(ten_thousandths: u64, currency: impl Into<String>) -> Self {
        Self {
            ten_thousandths,
            currency: currency.into(),
        }
    }

    /// Its currency.
    pub fn currency(&self) -> &str {
        &self.currency
    }

    /// So many of it.
    #[must_use]
    pub fn times(&self, number: usize) -> Self {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        Self {
            ten_thousandths: self.ten_thousandths.saturating_mul(number),
            currency: self.currency.clone(),
        }
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.ten_thousandths / ONE, self.ten_thousandths % ONE);
        // Hundredths, and what is below them only where there is something.
        let decimals = format!("{rest:04}");
        let short = decimals
            .strip_suffix("00")
            .or_else(|| decimals.strip_suffix('0'))
            .unwrap_or(&decimals);
        write!(f, "{whole}.{short} {}", self.currency)
    }
}

impl FromStr for Price {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("found {text:?}, expected an amount and a currency such as \"0.35 SEK\"");
        let (amount, currency) = text.split_once(' ').ok_or_else(wrong)?;
        let (whole, decimals) = amount.split_once('.').unwrap_or((amount, "0"));
        let digits = |part: &str, most: usize| {
            !part.is_empty() && part.len() <= most && part.bytes().all(|b| b.is_ascii_digit())
        };
        let is_code = currency.len() == 3 && currency.bytes().all(|b| b.is_ascii_uppercase());
        if !(digits(whole, 9) && digits(decimals, 4) && is_code) {
            return Err(wrong());
        }
        let whole: u64 = whole.parse().map_err(|_| wrong())?;
        let rest: u64 = format!("{decimals:0<4}").parse().map_err(|_| wrong())?;
        Ok(Self::of(whole * ONE + rest, currency))
    }
}

impl From<Price> for String {
    fn from(price: Price) -> Self {
        price.to_string()
    }
}

impl TryFrom<String> for Price {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// What one text comes to, for all its recipients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// How many pieces each recipient gets.
    pub parts: usize,
    /// How they were counted, in words: `231 of 306 GSM characters`.
    pub counted: String,
    /// What it costs for each recipient; `None` if the account names no price.
    pub each: Option<Price>,
    /// What it costs for all of them.
    pub total: Option<Price>,
}

impl Cost {
    /// So many pieces at this price for so many recipients.
    pub fn new(parts: usize, counted: impl fmt::Display, price: Option<&Price>, recipients: usize) -> Self {
        let each = price.map(|price| price.times(parts));
        Self {
            parts,
            counted: counted.to_string(),
            total: each.as_ref().map(|each| each.times(recipients)),
            each,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_read_and_written_the_same() {
        for text in [
            "0.35 SEK",
            "12.00 EUR",
            "0.3512 SEK",
            "0.001 USD",
            "999999999.9999 SEK",
        ] {
            assert_eq!(text.parse::<Price>().unwrap().to_string(), text);
        }
        assert_eq!("3 SEK".parse::<Price>().unwrap().to_string(), "3.00 SEK");
        assert_eq!("0.5 SEK".parse::<Price>().unwrap(), Price::of(5000, "SEK"));
        for text in [
            "",
            "0.35",
            "0,35 SEK",
            "-1 SEK",
            ".5 SEK",
            "1. SEK",
            "0.35 kr",
            "0.12345 SEK",
            "1e3 SEK",
            "0.35  SEK",
            "9999999999 SEK",
            "1.2.3 SEK",
        ] {
            assert!(text.parse::<Price>().is_err(), "{text}");
        }
    }

    #[test]
    fn many_texts_cost_what_one_costs_times_their_number() {
        let price: Price = "0.35 SEK".parse().unwrap();
        let cost = Cost::new(2, "231 of 306 GSM characters", Some(&price), 30_000);
        assert_eq!(cost.each.unwrap().to_string(), "0.70 SEK");
        assert_eq!(cost.total.unwrap().to_string(), "21000.00 SEK");
        assert_eq!(Cost::new(2, "", None, 5).total, None);
        assert_eq!(
            price.times(usize::MAX).times(9).to_string().len(),
            "1844674407370955.1615 SEK".len(),
            "it never wraps around"
        );
    }
}
