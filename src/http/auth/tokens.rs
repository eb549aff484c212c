//! Access tokens: short-lived JWTs, one algorithm, every claim required (RFC 9068, RFC 8725).
//!
//! **Invariant:** the key and the algorithm are ours and fixed; nothing in a token's header chooses them.

use chrono::TimeDelta;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sira_domain::nouns::UserId;
use sira_kernel::{Clock, Id};

use super::keys::Secrets;

/// How long an access token is good.
pub const LIFETIME: TimeDelta = TimeDelta::minutes(10);
/// How far the clocks of two of our processes may differ.
const LEEWAY_SECONDS: i64 = 5;
/// RFC 9068, 2.1: an access token is no ID token.
const TYPE: &str = "at+jwt";
const ISSUER: &str = "sira";
const AUDIENCE: &str = "sira-api";
/// Longest token looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 2048;

/// A signed-in session. Markers; never constructed.
#[derive(Debug)]
pub enum Session {}

/// Issues and verifies access tokens.
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    clock: Clock,
}

/// What a verified token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Whose it is.
    pub user: UserId,
    /// Which sign-in it came from.
    pub session: Id<Session>,
}

/// The token is not one of ours, or its time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid access token")]
pub struct InvalidToken;

/// All are required: a missing one does not deserialise.
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: UserId,
    sid: Id<Session>,
    jti: Id<Claims>,
    iat: i64,
    nbf: i64,
    exp: i64,
}

impl Tokens {
    /// Signs and verifies once, so that a machine on which signing does not work fails at boot.
    pub fn new(secrets: &Secrets, clock: Clock) -> anyhow::Result<Self> {
        let encoding = EncodingKey::from_ed_der(&secrets.pkcs8);
        let decoding = DecodingKey::from_ed_der(&secrets.public);
        let tokens = Self { encoding, decoding, clock };
        let user = UserId::new();
        let verified = tokens.verify(&tokens.issue(user)?)?;
        anyhow::ensure!(verified.user == user, "a token does not say what was signed");
        Ok(tokens)
    }

    /// A token of a new session of this user, good for [`LIFETIME`].
    pub fn issue(&self, user: UserId) -> Result<String, jsonwebtoken::errors::Error> {
        let now = self.clock.now().timestamp();
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: user,
            sid: Id::new(),
            jti: Id::new(),
            iat: now,
            nbf: now,
            exp: now + LIFETIME.num_seconds(),
        };
        let header = Header { typ: Some(TYPE.to_owned()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, &claims, &self.encoding)
    }

    /// Verifies signature, type, issuer, audience and times.
    pub fn verify(&self, token: &str) -> Result<Verified, InvalidToken> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(InvalidToken);
        }
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        // Times are compared below, on the product's clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let decoded =
            jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation).map_err(|_| InvalidToken)?;
        let (header, claims) = (decoded.header, decoded.claims);
        let now = self.clock.now().timestamp();
        let lifetime = claims.exp.saturating_sub(claims.iat);
        let good = header.typ.as_deref() == Some(TYPE)
            && header.crit.is_none()
            && (0..=LIFETIME.num_seconds()).contains(&lifetime)
            && claims.iat <= now.saturating_add(LEEWAY_SECONDS)
            && claims.nbf <= now.saturating_add(LEEWAY_SECONDS)
            && claims.exp > now.saturating_sub(LEEWAY_SECONDS);
        if good { Ok(Verified { user: claims.sub, session: claims.sid }) } else { Err(InvalidToken) }
    }
}
