//! Passwords: the policy, and argon2id behind a gate.
//!
//! One hash costs some 20 MB and tens of milliseconds, so whoever may ask for hashes may stop the process: at
//! most [`HASHINGS_MAX`] run at a time, off the async threads, and who waits longer than [`WAIT_MAX`] is turned
//! away.
//!
//! **Invariant:** a password is never stored, logged or shown by `Debug`.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

/// Shortest password, in characters.
pub const PASSWORD_CHARS_MIN: usize = 12;
/// Longest password, in characters.
pub const PASSWORD_CHARS_MAX: usize = 128;
/// Hashes computed at a time in one process.
const HASHINGS_MAX: usize = 2;
/// Longest wait for one's turn to hash.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// OWASP's second choice of argon2id parameters: 19 MiB, 2 passes, 1 lane (Password Storage Cheat Sheet).
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Long passwords that everybody tries first, lower-case.
const COMMON: [&str; 24] = [
    "000000000000",
    "111111111111",
    "112233445566",
    "121212121212",
    "123123123123",
    "123456123456",
    "123456789012",
    "1234567890123",
    "123456789abc",
    "1q2w3e4r5t6y",
    "1qaz2wsx3edc",
    "abcdefghijkl",
    "administrator",
    "changemechangeme",
    "galatasaray1905",
    "fenerbahce1907",
    "besiktas1903",
    "istanbul123456",
    "iloveyou1234",
    "letmein123456",
    "password1234",
    "passwordpassword",
    "qwerty123456",
    "qwertyuiop123",
];

/// Why a password is refused. The texts are fit for a person and do not repeat it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakPassword {
    /// Too short.
    #[error("a password has at least {PASSWORD_CHARS_MIN} characters")]
    TooShort,
    /// Too long.
    #[error("a password has at most {PASSWORD_CHARS_MAX} characters")]
    TooLong,
    /// The username stands in it.
    #[error("a password does not contain the username")]
    ContainsUsername,
    /// On the list of common ones, or one character over and over.
    #[error("this password is among the first that anybody would try")]
    Common,
}

/// Why no hash was computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// The policy refuses it.
    #[error(transparent)]
    Weak(#[from] WeakPassword),
    /// Too many are waiting; try again in some seconds.
    #[error("too many sign-ins at once: try again in some seconds")]
    Busy,
    /// The stored hash cannot be read, or memory was refused.
    #[error("the password could not be checked")]
    Broken,
}

/// A hash in PHC form, of a password that passed the policy. `Debug` hides it.
#[derive(Clone)]
pub struct HashedPassword(String);

impl HashedPassword {
    pub(super) fn phc(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for HashedPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashedPassword(…)")
    }
}

/// Hashes and verifies. One per process; cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    gate: Arc<Semaphore>,
    /// What is verified against when there is no such user, so that the answer takes as long.
    dummy: Arc<str>,
}

impl Passwords {
    /// Computes one hash, so call it at boot.
    ///
    /// # Panics
    /// When argon2id does not work at all on this machine.
    pub fn new() -> Self {
        let dummy = hash_now("no user has this password").expect("argon2id works with valid parameters");
        Self { gate: Arc::new(Semaphore::new(HASHINGS_MAX)), dummy: dummy.into() }
    }

    /// Checks the policy and hashes.
    ///
    /// # Errors
    /// [`HashError::Weak`] with the reason; [`HashError::Busy`] after a bounded wait.
    pub async fn hash(&self, username: &str, password: &SecretString) -> Result<HashedPassword, HashError> {
        check(username, password.expose_secret())?;
        let password = password.clone();
        let phc = self.gated(move || hash_now(password.expose_secret())).await??;
        Ok(HashedPassword(phc))
    }

    /// Whether the password is the one of this stored hash. Without a stored hash it takes as long and is `false`.
    ///
    /// # Errors
    /// [`HashError::Busy`] after a bounded wait.
    pub async fn verify(&self, stored: Option<String>, password: &SecretString) -> Result<bool, HashError> {
        let known = stored.is_some();
        let phc = stored.unwrap_or_else(|| self.dummy.to_string());
        let password = password.clone();
        let matches = self.gated(move || verify_now(&phc, password.expose_secret())).await??;
        Ok(matches && known)
    }

    async fn gated<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HashError> {
        let waiting = tokio::time::timeout(WAIT_MAX, Arc::clone(&self.gate).acquire_owned());
        let permit = waiting.await.map_err(|_| HashError::Busy)?.map_err(|_| HashError::Broken)?;
        // The permit goes with the work: a caller that goes away does not let more than the limit run.
        let guarded = move || {
            let _permit = permit;
            work()
        };
        tokio::task::spawn_blocking(guarded).await.map_err(|_| HashError::Broken)
    }
}

impl Default for Passwords {
    fn default() -> Self {
        Self::new()
    }
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("constants within argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash_now(password: &str) -> Result<String, HashError> {
    let salt: [u8; 16] = rand::random();
    let phc: Phc =
        argon2().hash_password_with_salt(password.as_bytes(), &salt).map_err(|_| HashError::Broken)?;
    Ok(phc.to_string())
}

fn verify_now(phc: &str, password: &str) -> Result<bool, HashError> {
    let parsed = Phc::new(phc).map_err(|_| HashError::Broken)?;
    match argon2().verify_password(password.as_bytes(), &parsed) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
        Err(_) => Err(HashError::Broken),
    }
}

/// The policy: length, not the username, not common. No rules of composition: they make passwords worse
/// (NIST SP 800-63B, 3.1.1.2).
fn check(username: &str, password: &str) -> Result<(), WeakPassword> {
    let chars = password.chars().count();
    let lower = password.to_lowercase();
    let first = lower.chars().next();
    if chars < PASSWORD_CHARS_MIN {
        Err(WeakPassword::TooShort)
    } else if chars > PASSWORD_CHARS_MAX {
        Err(WeakPassword::TooLong)
    } else if lower.contains(&username.to_lowercase()) {
        Err(WeakPassword::ContainsUsername)
    } else if COMMON.contains(&lower.as_str()) || lower.chars().all(|c| Some(c) == first) {
        Err(WeakPassword::Common)
    } else {
        Ok(())
    }
}

/// Letters and digits without look-alikes, for passwords that a person copies.
const READABLE: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
/// 20 symbols of 5 random bits.
const GENERATED_CHARS: usize = 20;

/// A random password of 100 bits, in groups of five.
pub fn generate() -> SecretString {
    let random: [u8; GENERATED_CHARS] = rand::random();
    let symbols: Vec<char> = random.iter().map(|byte| char::from(READABLE[usize::from(byte % 32)])).collect();
    let groups: Vec<String> = symbols.chunks(5).map(|group| group.iter().collect()).collect();
    SecretString::from(groups.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_passwords_are_refused_with_their_reason() {
        let long = "x1".repeat(65);
        for (password, expected) in [
            ("short", Err(WeakPassword::TooShort)),
            ("şşşşşşşşşşş", Err(WeakPassword::TooShort)),
            (long.as_str(), Err(WeakPassword::TooLong)),
            ("my-AGENT.one-pw", Err(WeakPassword::ContainsUsername)),
            ("Password1234", Err(WeakPassword::Common)),
            ("aaaaaaaaaaaaaaa", Err(WeakPassword::Common)),
            ("correct horse battery", Ok(())),
        ] {
            assert_eq!(check("agent.one", password), expected, "{password}");
        }
    }

    #[test]
    fn generated_passwords_pass_the_policy_and_differ() {
        let (one, two) = (generate(), generate());
        assert_eq!(check("admin", one.expose_secret()), Ok(()));
        assert_ne!(one.expose_secret(), two.expose_secret());
    }

    #[tokio::test]
    async fn a_hash_verifies_its_own_password_alone() {
        let passwords = Passwords::new();
        let right = SecretString::from("correct horse battery");
        let hash = passwords.hash("agent", &right).await.unwrap();
        assert!(hash.phc().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(passwords.verify(Some(hash.phc().to_owned()), &right).await.unwrap());
        let wrong = SecretString::from("correct horse batterx");
        assert!(!passwords.verify(Some(hash.phc().to_owned()), &wrong).await.unwrap());
        let dummys_own = SecretString::from("no user has this password");
        assert!(!passwords.verify(None, &dummys_own).await.unwrap());
        assert!(!format!("{hash:?}").contains("argon2id"));
    }
}
