//! E-mail addresses, parsed at the edge and shown masked.

use std::fmt;

/// Longest address accepted, in bytes (RFC 5321, 4.5.3.1.3, less the brackets).
pub const EMAIL_BYTES_MAX: usize = 254;

/// A syntactically plausible address in its normal form: trimmed, lower-cased.
///
/// `Debug` shows the masked form, so that an address never slips into a log.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EmailAddress(String);

/// The text is not an address that a mail server could take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an e-mail address: expected name@domain.tld, at most {EMAIL_BYTES_MAX} bytes")]
pub struct InvalidEmail;

impl EmailAddress {
    /// Parses and normalises. Refuses what has no `@`, no dot in its domain, white space or control characters.
    pub fn parse(raw: &str) -> Result<Self, InvalidEmail> {
        let text = raw.trim().to_lowercase();
        let (local, domain) = text.rsplit_once('@').ok_or(InvalidEmail)?;
        let plausible = !local.is_empty()
            && !local.contains('@')
            && domain.contains('.')
            && domain.split('.').all(|label| !label.is_empty())
            && text.len() <= EMAIL_BYTES_MAX
            && !text.chars().any(|c| c.is_whitespace() || c.is_control());
        if plausible { Ok(Self(text)) } else { Err(InvalidEmail) }
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
}
