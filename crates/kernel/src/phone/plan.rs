//! Numbering plans: which numbers a country has, and of which kind they are.
//!
//! The plans are the metadata of the crate `phonenumber`. Its own matching is not used: it takes a pattern that fits
//! the beginning of a number for a fit, and forgets leading zeros when it tells kinds apart.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use phonenumber::metadata::{DATABASE, Descriptor, Metadata};
use regex::{Captures, Regex, RegexBuilder};

use super::PhoneKind;

/// Digits of the longest country code.
const CODE_DIGITS_MAX: usize = 3;
/// The region under which the metadata files what belongs to no country: +800, +870.
const NOWHERE: &str = "001";

/// All plans. Their patterns are compiled when they are first needed, and kept: there are as many as the metadata
/// has, some 2 000.
static PLANS: LazyLock<Plans> = LazyLock::new(Plans::load);

struct Plans {
    /// By country code; the main country of a shared code stands first.
    by_code: HashMap<u16, Vec<Plan>>,
    /// Region to country code and place in its list.
    by_region: HashMap<&'static str, (u16, usize)>,
}

impl Plans {
    fn load() -> Self {
        let mut plans = Self { by_code: HashMap::new(), by_region: HashMap::new() };
        let codes = 1..10_u16.pow(CODE_DIGITS_MAX as u32);
        for (code, all) in codes.filter_map(|code| Some((code, DATABASE.by_code(&code)?))) {
            for (at, metadata) in all.iter().enumerate().filter(|(_, metadata)| metadata.id() != NOWHERE) {
                plans.by_region.insert(metadata.id(), (code, at));
            }
            plans.by_code.insert(code, all.into_iter().map(Plan::new).collect());
        }
        plans
    }
}

/// The plan of a region (ISO 3166, capitals).
pub fn of_region(region: &str) -> Option<&'static Plan> {
    let (code, at) = PLANS.by_region.get(region)?;
    PLANS.by_code.get(code)?.get(*at)
}

/// The plan of the main country that has this code.
pub fn of_code(code: u16) -> Option<&'static Plan> {
    PLANS.by_code.get(&code)?.first()
}

/// Cuts the country code off the digits of an international number. No code begins another one.
pub fn split_code(digits: &str) -> Option<(u16, &str)> {
    let cut = |at| {
        let (code, national) = digits.split_at_checked(at)?;
        let code = code.parse().ok().filter(|_| !code.starts_with('0'))?;
        PLANS.by_code.contains_key(&code).then_some((code, national))
    };
    (1..=CODE_DIGITS_MAX).find_map(cut)
}

/// The kind of a number; none when no plan of this code assigns it.
pub fn kind_of(code: u16, national: &str) -> Option<PhoneKind> {
    let plan = match PLANS.by_code.get(&code)?.as_slice() {
        [only] => only,
        several => several.iter().find(|plan| plan.is_home_of(national))?,
    };
    plan.kind_of(national)
}

/// How the length of a national number fits its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    Possible,
    /// Dialled within one town, without its area code.
    LocalOnly,
    TooShort,
    TooLong,
    /// Between the shortest and the longest, and no number has it.
    Impossible,
}

/// What one country assigns.
pub struct Plan {
    pub code: u16,
    /// What is dialled to leave the country: `00`.
    way_out: Option<Pattern>,
    /// What is dialled before a national number: `0`.
    trunk: Option<Pattern>,
    /// What a trunk prefix with a group in it is replaced with.
    transform: Option<&'static str>,
    /// Tells the countries of a shared code apart.
    leading: Option<Pattern>,
    general: Pattern,
    /// Ascending.
    lengths: Vec<u16>,
    local_lengths: Vec<u16>,
    /// Neither fixed nor mobile, and looked at before them.
    others: Vec<Class>,
    fixed_line: Option<Class>,
    mobile: Option<Class>,
}

impl Plan {
    fn new(metadata: &'static Metadata) -> Self {
        let all = metadata.descriptors();
        let others = [
            all.premium_rate(),
            all.toll_free(),
            all.shared_cost(),
            all.voip(),
            all.personal_number(),
            all.pager(),
            all.uan(),
            all.voicemail(),
        ];
        let described = || others.into_iter().chain([all.fixed_line(), all.mobile()]).flatten();
        let lengths = sorted(described().flat_map(Descriptor::possible_length));
        let mut local_lengths = sorted(described().flat_map(Descriptor::possible_local_length));
        local_lengths.retain(|length| !lengths.contains(length));
        let trunk =
            metadata.national_prefix_for_parsing().map(|pattern| Pattern::beginning(pattern.as_str()));
        Self {
            code: metadata.country_code(),
            way_out: metadata.international_prefix().map(|pattern| Pattern::beginning(pattern.as_str())),
            trunk: trunk.or_else(|| metadata.national_prefix().map(Pattern::beginning)),
            transform: metadata.national_prefix_transform_rule(),
            leading: metadata.leading_digits().map(|pattern| Pattern::beginning(pattern.as_str())),
            general: Pattern::whole(all.general().national_number().as_str()),
            lengths,
            local_lengths,
            others: others.into_iter().flatten().map(Class::new).collect(),
            fixed_line: all.fixed_line().map(Class::new),
            mobile: all.mobile().map(Class::new),
        }
    }

    /// Whether the digits have the general shape of a national number.
    pub fn is_shaped(&self, national: &str) -> bool {
        self.general.is_match(national)
    }

    pub fn length_of(&self, national: &str) -> Length {
        let length = national.len() as u16;
        let (Some(shortest), Some(longest)) = (self.lengths.first(), self.lengths.last()) else {
            return Length::Impossible;
        };
        match length {
            _ if self.local_lengths.contains(&length) => Length::LocalOnly,
            _ if self.lengths.contains(&length) => Length::Possible,
            _ if length < *shortest => Length::TooShort,
            _ if length > *longest => Length::TooLong,
            _ => Length::Impossible,
        }
    }

    /// The digits behind what is dialled to leave the country. No country code begins with a zero.
    pub fn abroad<'a>(&self, digits: &'a str) -> Option<&'a str> {
        let end = self.way_out.as_ref()?.find(digits)?.get(0)?.end();
        Some(&digits[end..]).filter(|rest| !rest.starts_with('0'))
    }

    /// The national number without its trunk prefix, unless it only has its shape with it.
    pub fn without_trunk(&self, national: &str) -> String {
        let found = self.trunk.as_ref().and_then(|trunk| trunk.find(national));
        let Some(found) = found.filter(|_| !national.is_empty()) else { return national.to_owned() };
        let group = |at| found.get(at).map_or("", |group| group.as_str());
        let rest = &national[group(0).len()..];
        let last = found.len() - 1;
        let bare = match self.transform {
            Some(rule) if last > 0 && found.get(last).is_some() => {
                rule.replace("$1", group(1)).replace("$2", group(2)) + rest
            }
            _ => rest.to_owned(),
        };
        if self.is_shaped(national) && !self.is_shaped(&bare) { national.to_owned() } else { bare }
    }

    fn is_home_of(&self, national: &str) -> bool {
        match &self.leading {
            Some(leading) => leading.is_match(national),
            None => self.kind_of(national).is_some(),
        }
    }

    fn kind_of(&self, national: &str) -> Option<PhoneKind> {
        let is = |class: &Option<Class>| class.as_ref().is_some_and(|class| class.has(national));
        if !self.is_shaped(national) {
            return None;
        }
        if self.others.iter().any(|class| class.has(national)) {
            return Some(PhoneKind::Other);
        }
        match (is(&self.fixed_line), is(&self.mobile)) {
            (true, true) => Some(PhoneKind::FixedLineOrMobile),
            (true, false) => Some(PhoneKind::FixedLine),
            (false, true) => Some(PhoneKind::Mobile),
            (false, false) => None,
        }
    }
}

fn sorted<'a>(lengths: impl Iterator<Item = &'a u16>) -> Vec<u16> {
    let mut sorted: Vec<u16> = lengths.copied().collect();
    sorted.sort_unstable();
    sorted.dedup();
    sorted
}

/// The numbers of one kind.
struct Class {
    pattern: Pattern,
    lengths: &'static [u16],
}

impl Class {
    fn new(descriptor: &'static Descriptor) -> Self {
        let pattern = Pattern::whole(descriptor.national_number().as_str());
        Self { pattern, lengths: descriptor.possible_length() }
    }

    fn has(&self, national: &str) -> bool {
        let fits = self.lengths.is_empty() || self.lengths.contains(&(national.len() as u16));
        fits && self.pattern.is_match(national)
    }
}

/// A pattern of the metadata.
struct Pattern {
    source: &'static str,
    /// Whether it must fit the whole text, or its beginning.
    is_whole: bool,
    compiled: OnceLock<Regex>,
}

impl Pattern {
    fn whole(source: &'static str) -> Self {
        Self { source, is_whole: true, compiled: OnceLock::new() }
    }

    fn beginning(source: &'static str) -> Self {
        Self { source, is_whole: false, compiled: OnceLock::new() }
    }

    fn regex(&self) -> &Regex {
        self.compiled.get_or_init(|| {
            let end = if self.is_whole { r"\z" } else { "" };
            // The metadata breaks long patterns into lines.
            RegexBuilder::new(&format!(r"\A(?:{}){end}", self.source))
                .ignore_whitespace(true)
                .build()
                .expect("the metadata's loader has read every pattern")
        })
    }

    fn is_match(&self, text: &str) -> bool {
        self.regex().is_match(text)
    }

    fn find<'t>(&self, text: &'t str) -> Option<Captures<'t>> {
        self.regex().captures(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_of_every_plan_compiles() {
        let mut compiled = 0;
        for plan in PLANS.by_code.values().flatten() {
            let prefixes = [&plan.way_out, &plan.trunk, &plan.leading].into_iter().flatten();
            let classes = plan.others.iter().chain(&plan.fixed_line).chain(&plan.mobile);
            for pattern in prefixes.chain(classes.map(|class| &class.pattern)).chain([&plan.general]) {
                pattern.regex();
                compiled += 1;
            }
            assert!(!plan.lengths.is_empty(), "+{}", plan.code);
        }
        assert!((1_000..4_000).contains(&compiled), "{compiled}");
    }

    #[test]
    fn the_main_country_of_a_shared_code_stands_first() {
        for (region, code) in [("US", 1), ("RU", 7), ("GB", 44), ("IT", 39), ("TR", 90)] {
            let (of_code, of_region) = (of_code(code).unwrap(), of_region(region).unwrap());
            assert!(std::ptr::eq(of_code, of_region), "{region}");
        }
        assert!(of_region("001").is_none());
        assert!(of_region("tr").is_none());
    }

    #[test]
    fn a_code_is_cut_off_only_when_some_country_has_it() {
        assert_eq!(split_code("905550000017"), Some((90, "5550000017")));
        assert_eq!(split_code("35312345"), Some((353, "12345")));
        assert_eq!(split_code("0905550000017"), None);
        assert_eq!(split_code("999123"), None);
        assert_eq!(split_code(""), None);
    }
}
