//! Phone numbers against the reference: Google's libphonenumber as the Python package `phonenumbers` ports it.
//!
//! `phones/generate.py` writes 10 000 spellings of synthetic numbers, and what the reference makes of each.

use sira_kernel::{PhoneKind, PhoneNumber};

const VARIANTS: &str = include_str!("phones/variants.csv");
const VARIANTS_COUNT: usize = 10_000;
/// Disagreements that a failure prints.
const SHOWN_MAX: usize = 40;

struct Variant {
    raw: String,
    region: &'static str,
    is_valid: bool,
    e164: &'static str,
    kind: &'static str,
}

/// Only the raw text, which stands first, is ever quoted.
fn variants() -> impl Iterator<Item = Variant> {
    VARIANTS.lines().skip(1).map(|line| {
        let mut fields = line.rsplitn(5, ',');
        let mut field = || fields.next().expect("five fields");
        let (kind, e164, is_valid, region, raw) = (field(), field(), field() == "1", field(), field());
        let quoted = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"'));
        let raw = quoted.map_or_else(|| raw.to_owned(), |raw| raw.replace("\"\"", "\""));
        Variant { raw, region, is_valid, e164, kind }
    })
}

fn name(kind: PhoneKind) -> &'static str {
    match kind {
        PhoneKind::Mobile => "mobile",
        PhoneKind::FixedLine => "fixed_line",
        PhoneKind::FixedLineOrMobile => "fixed_line_or_mobile",
        PhoneKind::Other => "other",
    }
}

#[test]
fn every_variant_is_read_as_the_reference_reads_it() {
    let mut wrong = Vec::new();
    for variant in variants() {
        let ours = PhoneNumber::parse(&variant.raw, variant.region);
        let (e164, kind) = ours.as_ref().map_or(("", ""), |phone| (phone.e164(), name(phone.kind())));
        if (ours.is_ok(), e164, kind) != (variant.is_valid, variant.e164, variant.kind) {
            let Variant { raw, region, e164: theirs, kind: of_kind, .. } = &variant;
            wrong.push(format!("{raw:?} in {region:?}: {e164} {kind}; the reference: {theirs} {of_kind}"));
        }
    }
    let shown = wrong.iter().take(SHOWN_MAX).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} variants are read otherwise:\n{shown}", wrong.len());
}

/// What is stored is read again.
#[test]
fn a_number_is_read_back_from_its_normal_form() {
    for variant in variants().filter(|variant| variant.is_valid) {
        let again = PhoneNumber::parse(variant.e164, "");
        assert_eq!(again.as_ref().map(PhoneNumber::e164), Ok(variant.e164));
    }
}

#[test]
fn the_variants_are_as_many_and_as_mixed_as_promised() {
    let count = |keep: fn(&Variant) -> bool| variants().filter(keep).count();
    assert_eq!(count(|_| true), VARIANTS_COUNT);
    assert!((6_500..7_500).contains(&count(|variant| variant.is_valid)));
    for kind in ["mobile", "fixed_line", "fixed_line_or_mobile", "other"] {
        assert!(variants().filter(|variant| variant.kind == kind).count() >= 100, "{kind}");
    }
}
