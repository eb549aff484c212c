//! Phone numbers, parsed at the edge to E.164 and shown masked.

use std::fmt;

use phonenumber::country;

/// A valid number in E.164. `Debug` shows the masked form, so that a number never slips into a log.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PhoneNumber(String);

/// Why a text is no phone number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPhone {
    /// The text has no digits in the shape of a number, or names an unknown country.
    #[error("not a phone number: give it with its country code, as in +90 5xx xxx xx xx")]
    Unreadable,
    /// It has the shape of a number, but its plan assigns no such number.
    #[error("no such number in its country's numbering plan: check the digits")]
    NotAssigned,
}

impl PhoneNumber {
    /// Parses a number; one without a country code is read as a national number of `region` (ISO 3166, `TR`).
    pub fn parse(raw: &str, region: &str) -> Result<Self, InvalidPhone> {
        let region: Option<country::Id> = region.parse().ok();
        let ascii: String = raw.trim().chars().take(64).collect();
        let parsed = phonenumber::parse(region, ascii).map_err(|_| InvalidPhone::Unreadable)?;
        if !phonenumber::is_valid(&parsed) {
            return Err(InvalidPhone::NotAssigned);
        }
        Ok(Self(parsed.format().mode(phonenumber::Mode::E164).to_string()))
    }

    /// `+905…`: what is encrypted and what the blind index is taken over.
    pub fn e164(&self) -> &str {
        &self.0
    }

    /// What may be shown: the country's first digits and the last two: `+90*** ** 17`.
    pub fn masked(&self) -> String {
        let head: String = self.0.chars().take(3).collect();
        let tail: String = self.0.chars().skip(self.0.chars().count().saturating_sub(2)).collect();
        format!("{head}*** ** {tail}")
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // 555 000 xx xx follows the plan of Turkish mobile numbers; the block is not handed out.
    #[test]
    fn national_variants_become_one_number() {
        for raw in
            ["0555 000 00 17", "5550000017", "+90 555 000 00 17", "0090 555 000 00 17", "90 555 000 0017"]
        {
            let phone = PhoneNumber::parse(raw, "TR").unwrap_or_else(|e| panic!("{raw}: {e}"));
            assert_eq!(phone.e164(), "+905550000017", "{raw}");
        }
    }

    #[test]
    fn masked_shows_country_and_last_two_digits() {
        let phone = PhoneNumber::parse("+905550000017", "TR").expect("valid by plan");
        assert_eq!(phone.masked(), "+90*** ** 17");
        assert_eq!(format!("{phone:?}"), "+90*** ** 17");
    }

    #[test]
    fn junk_is_refused_with_its_reason() {
        assert_eq!(PhoneNumber::parse("call me", "TR"), Err(InvalidPhone::Unreadable));
        assert!(PhoneNumber::parse("+90 1", "TR").is_err());
        assert_eq!(PhoneNumber::parse("+90 100 000 00 00", "TR"), Err(InvalidPhone::NotAssigned));
    }
}
