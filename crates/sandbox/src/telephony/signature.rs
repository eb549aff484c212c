//! Signs webhooks about calls as Standard Webhooks says. Written apart from the client's verification, so that one
//! tests the other.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};

/// Bytes that a secret stands for.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Signs with one secret.
pub(crate) struct Signer(hmac::Key);

impl Signer {
    /// `None` unless the secret is `whsec_` and base64 of 24 to 64 bytes.
    pub fn new(secret: &SecretString) -> Option<Self> {
        let bytes = STANDARD.decode(secret.expose_secret().strip_prefix("whsec_")?).ok()?;
        SECRET_BYTES.contains(&bytes.len()).then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// The value of `webhook-signature`.
    pub fn sign(&self, id: &str, timestamp: i64, raw: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(raw);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

/// The value of `webhook-signature` for these bytes, this id and these seconds since 1970; `None` when the secret is
/// not `whsec_` and base64 of 24 to 64 bytes.
pub fn sign_webhook(secret: &SecretString, id: &str, timestamp: i64, raw: &[u8]) -> Option<String> {
    Signer::new(secret).map(|signer| signer.sign(id, timestamp, raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_public_vector() {
        let secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".into();
        let raw = br#"{"email":"test@example.com","username":"test_user"}"#;
        let signature = sign_webhook(&secret, "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553, raw);
        assert_eq!(signature.as_deref(), Some("v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="));
    }

    #[test]
    fn what_is_no_secret_signs_nothing() {
        for secret in ["", "whsec_", "whsec_AAAA", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_?"] {
            assert_eq!(sign_webhook(&secret.into(), "a", 1, b"{}"), None, "{secret}");
        }
    }
}
