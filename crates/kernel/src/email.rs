//! E-mail addresses, parsed at the edge and shown masked.

use std::fmt;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

/// Longest address accepted, in bytes (RFC 5321, 4.5.3.1.3, less the brackets).
pub const EMAIL_BYTES_MAX: usize = 254;

/// Longest text in which an address is looked for, in bytes: a name may stand before the address.
const TEXT_BYTES_MAX: usize = 1024;
/// What RFC 5322 keeps for its own use; a name of a mailbox has it in quotes only, which nobody types.
const SPECIALS: [char; 11] = ['<', '>', '(', ')', '[', ']', '\\', ',', ';', ':', '"'];

/// A syntactically plausible address in its normal form: lower case, its domain in ASCII.
///
/// `Debug` shows the masked form, so that an address never slips into a log.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EmailAddress(String);

/// The text is not an address that a mail server could take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an e-mail address: expected name@domain.tld, at most {EMAIL_BYTES_MAX} bytes")]
pub struct InvalidEmail;

impl EmailAddress {
    /// Parses and normalises. Reads `Name <a@example.com>` and `mailto:a@example.com` too, and drops a dot at the end.
    /// Refuses what has no `@`, no dot in its domain, white space or control characters, and a domain that no host
    /// could bear.
    pub fn parse(raw: &str) -> Result<Self, InvalidEmail> {
        let text = raw.trim();
        if text.len() > TEXT_BYTES_MAX {
            return Err(InvalidEmail);
        }
        let text = lower(without_scheme(within_brackets(text).trim()));
        let (local, domain) = text.rsplit_once('@').ok_or(InvalidEmail)?;
        if local.is_empty() || local.contains('@') || local.contains(SPECIALS) || has_blanks(&text) {
            return Err(InvalidEmail);
        }
        let address = format!("{local}@{}", host(domain).ok_or(InvalidEmail)?);
        if address.len() <= EMAIL_BYTES_MAX { Ok(Self(address)) } else { Err(InvalidEmail) }
    }

    /// The normal form: what is encrypted and what the blind index is taken over.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What may be shown: first letter of the name, the domain's last label: `a***@***.com`.
    pub fn masked(&self) -> String {
        let first = self.0.chars().next().unwrap_or('*');
        let tld = self.0.rsplit('.').next().unwrap_or("");
        format!("{first}***@***.{tld}")
    }
}

/// The address of `Name <a@example.com>`.
fn within_brackets(text: &str) -> &str {
    let bracketed = text.strip_suffix('>').and_then(|text| text.rsplit_once('<'));
    bracketed.map_or(text, |(_, address)| address)
}

/// The address of `mailto:a@example.com?subject=…`.
fn without_scheme(text: &str) -> &str {
    const SCHEME: &str = "mailto:";
    match text.split_at_checked(SCHEME.len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(SCHEME) => rest.split('?').next().unwrap_or(rest),
        _ => text,
    }
}

/// Lower case as in every locale but the Turkish: I becomes i, and so does İ, which is typed by who means i.
fn lower(text: &str) -> String {
    text.replace('İ', "i").to_lowercase()
}

fn has_blanks(text: &str) -> bool {
    text.chars().any(|letter| letter.is_whitespace() || letter.is_control())
}

/// A domain as it is asked for in DNS: ASCII (UTS 46), letters, digits and hyphens, at least two labels.
fn host(domain: &str) -> Option<String> {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    let ascii = Uts46::new().to_ascii(
        domain.as_bytes(),
        AsciiDenyList::STD3,
        Hyphens::CheckFirstLast,
        DnsLength::Verify,
    );
    ascii.ok().filter(|host| host.contains('.')).map(std::borrow::Cow::into_owned)
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsing_normalises_and_masking_hides() {
        let email = EmailAddress::parse("  Ayse.Demo@Example.COM ").expect("a plain address");
        assert_eq!(email.as_str(), "ayse.demo@example.com");
        assert_eq!(email.masked(), "a***@***.com");
        assert_eq!(format!("{email:?}"), "a***@***.com");
    }

    #[test]
    fn what_no_server_could_take_is_refused() {
        for bad in
            ["", "x", "@example.com", "a@b", "a b@example.com", "a@example..com", "a@@example.com", "a@.com"]
        {
            assert_eq!(EmailAddress::parse(bad), Err(InvalidEmail), "{bad:?}");
        }
    }

    fn read(raw: &str) -> String {
        EmailAddress::parse(raw).map_or_else(|e| format!("{raw:?}: {e}"), |email| email.as_str().to_owned())
    }

    #[test]
    fn an_address_is_found_in_what_people_paste() {
        for raw in [
            "ayse@example.com",
            "AYSE@EXAMPLE.COM.",
            "\t<ayse@example.com>\n",
            "Ayşe Demo <ayse@example.com>",
            "\"Demo, Ayşe\" < Ayse@Example.com >",
            "mailto:ayse@example.com",
            "MailTo:ayse@example.com?subject=Randevu",
            "Ayşe <mailto:ayse@example.com>",
        ] {
            assert_eq!(read(raw), "ayse@example.com", "{raw:?}");
        }
    }

    #[test]
    fn lower_case_is_no_turkish_one() {
        assert_eq!(read("ILGIN@EXAMPLE.COM"), "ilgin@example.com");
        assert_eq!(read("İLGİN@BİLGİ.EXAMPLE"), "ilgin@bilgi.example");
    }

    #[test]
    fn a_domain_in_letters_of_its_own_becomes_ascii() {
        assert_eq!(read("info@Çiçek.example"), "info@xn--iek-1lab.example");
        assert_eq!(read("info@ÇİÇEK.example"), "info@xn--iek-1lab.example");
        assert_eq!(read("info@xn--iek-1lab.example"), "info@xn--iek-1lab.example");
        assert_eq!(read("info@bücher.example"), "info@xn--bcher-kva.example");
        assert_eq!(read("info@例え。example"), read("info@例え.example"));
    }

    #[test]
    fn a_normal_form_is_its_own_normal_form() {
        for raw in ["Ayse.Demo+1@Example.COM", "info@Çiçek.example", "İ@example.com", "ß@straße.example"]
        {
            let once = EmailAddress::parse(raw).expect("an address");
            assert_eq!(EmailAddress::parse(once.as_str()), Ok(once.clone()), "{raw}");
        }
    }

    #[test]
    fn two_addresses_and_broken_ones_are_refused() {
        let long = format!("{}@example.com", "a".repeat(EMAIL_BYTES_MAX));
        for bad in [
            "a@example.com,b@example.com",
            "a@example.com;b",
            "a@example.com b@example.com",
            "Ali a@example.com",
            "<a@example.com",
            "a@example.com>",
            "a@exam ple.com",
            "a@exam_ple.com",
            "a@-example.com",
            "a@example.com..",
            "a@.",
            "mailto:",
            "<>",
            "a\u{a0}b@example.com",
            "a\u{7}b@example.com",
            long.as_str(),
        ] {
            assert_eq!(EmailAddress::parse(bad), Err(InvalidEmail), "{bad:?}");
        }
    }
}
