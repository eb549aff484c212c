//! Phone numbers, parsed at the edge to E.164 and shown masked.

mod plan;
mod reading;

use std::fmt;

/// What people put between two numbers in one field.
const SEPARATORS: [char; 5] = ['/', ';', ',', '|', '\n'];
/// Parts of one field that are tried as a number.
const PARTS_MAX: usize = 8;

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

/// What a number reaches, by its country's numbering plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PhoneKind {
    /// A mobile phone.
    Mobile,
    /// A line to a place.
    FixedLine,
    /// Either: the plan does not tell them apart, as in the United States and Canada.
    FixedLineOrMobile,
    /// Neither: freephone, premium, internet, personal and company numbers, pagers, voice mail.
    Other,
}

impl PhoneNumber {
    /// Parses a number; one without a country code is read as a national number of `region` (ISO 3166, `TR`).
    ///
    /// Words before the number, what people put between digits, digits of other scripts, and an extension do not
    /// matter. The extension is dropped.
    pub fn parse(raw: &str, region: &str) -> Result<Self, InvalidPhone> {
        let read = reading::read(raw, region).ok_or(InvalidPhone::Unreadable)?;
        plan::kind_of(read.code, &read.national).ok_or(InvalidPhone::NotAssigned)?;
        Ok(Self(format!("+{}{}", read.code, read.national)))
    }

    /// The numbers in a field that may hold several, in their order. Of at most eight parts, those that are no number
    /// are left out: "call me; 0555 …".
    ///
    /// Where no part is a number, the whole may be one whose area code stands before a slash: `0212/000 00 00`.
    pub fn parse_all(raw: &str, region: &str) -> Vec<Self> {
        let parts = raw.split(SEPARATORS).take(PARTS_MAX);
        let numbers: Vec<Self> = parts.filter_map(|part| Self::parse(part, region).ok()).collect();
        if numbers.is_empty() { Self::parse(raw, region).into_iter().collect() } else { numbers }
    }

    /// What the number reaches. Read from the numbering plan at each call: a number that its plan has since given up
    /// is [`PhoneKind::Other`].
    pub fn kind(&self) -> PhoneKind {
        let digits = self.0.trim_start_matches('+');
        let kind = plan::split_code(digits).and_then(|(code, national)| plan::kind_of(code, national));
        kind.unwrap_or(PhoneKind::Other)
    }

    /// Whether SMS and WhatsApp may be tried. [`PhoneKind::FixedLineOrMobile`] counts as able: a North American
    /// number does not show whether it is mobile, and refusing would silence a whole continent.
    pub fn can_text(&self) -> bool {
        matches!(self.kind(), PhoneKind::Mobile | PhoneKind::FixedLineOrMobile)
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

    fn kind(raw: &str) -> PhoneKind {
        PhoneNumber::parse(raw, "TR").unwrap_or_else(|e| panic!("{raw}: {e}")).kind()
    }

    // Fictional numbers, or blocks that are not handed out.
    #[test]
    fn the_plan_tells_kinds_apart() {
        assert_eq!(kind("0555 000 00 17"), PhoneKind::Mobile);
        assert_eq!(kind("0212 000 00 17"), PhoneKind::FixedLine);
        assert_eq!(kind("0850 000 00 17"), PhoneKind::Other);
        assert_eq!(kind("+1 212 555 0117"), PhoneKind::FixedLineOrMobile);
        assert_eq!(kind("+46 70 174 06 17"), PhoneKind::Mobile);
        // The zero belongs to an Italian number.
        assert_eq!(kind("+39 06 0000 0017"), PhoneKind::FixedLine);
    }

    #[test]
    fn only_what_may_be_mobile_is_texted() {
        let can_text = |raw| PhoneNumber::parse(raw, "TR").unwrap().can_text();
        assert!(can_text("0555 000 00 17"));
        assert!(can_text("+1 212 555 0117"));
        assert!(!can_text("0212 000 00 17"));
        assert!(!can_text("0850 000 00 17"));
    }

    fn all(raw: &str) -> Vec<String> {
        PhoneNumber::parse_all(raw, "TR").iter().map(|phone| phone.e164().to_owned()).collect()
    }

    #[test]
    fn several_numbers_in_one_field_are_all_read() {
        let both = ["+905550000017", "+905550000018"];
        for raw in [
            "555 000 00 17 / 555 000 00 18",
            "05550000017;05550000018",
            "0555 000 00 17, +90 555 000 00 18",
            "0555 000 00 17 | 0555 000 00 18",
            "0555 000 00 17\n0555 000 00 18",
        ] {
            assert_eq!(all(raw), both, "{raw:?}");
        }
    }

    #[test]
    fn what_stands_around_the_numbers_is_left_out() {
        assert_eq!(all("p:+905550000017"), ["+905550000017"]);
        assert_eq!(all("  p:+905550000017 / p:+905550000018 "), ["+905550000017", "+905550000018"]);
        assert_eq!(all("call me; 05550000017"), ["+905550000017"]);
        assert_eq!(all("mobile: 0555 000 00 17; office: 0212 000 00 17"), ["+905550000017", "+902120000017"]);
        assert!(all("none").is_empty());
        assert!(all("").is_empty());
    }

    #[test]
    fn an_area_code_before_a_slash_is_read_with_its_number() {
        assert_eq!(all("0212/000 00 17"), ["+902120000017"]);
        assert_eq!(all("0555/000/00/17"), ["+905550000017"]);
    }

    #[test]
    fn parts_are_bounded() {
        let many = |count| vec!["05550000017"; count].join(";");
        assert_eq!(all(&many(PARTS_MAX)).len(), PARTS_MAX);
        assert_eq!(all(&many(PARTS_MAX + 1)).len(), PARTS_MAX);
    }
}
