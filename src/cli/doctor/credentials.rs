//! Whether providers can be asked, and whether the key file opens this database.

use secrecy::{ExposeSecret as _, SecretString};
use sira_domain::privacy::{Cipher, KeyFileError, LocalKeyFile, list_keks_in_use};
use sqlx::PgPool;

use super::Check;
use crate::config::Config;

/// Whether what belongs together is set together. Nobody is asked: a provider counts what it refuses.
pub fn providers(config: &Config) -> Vec<Check> {
    vec![meta(config), telephony(config)]
}

fn meta(config: &Config) -> Check {
    const NAME: &str = "Meta's credentials";
    let meta = &config.meta;
    let missing = missing(&[
        ("app_secret", &meta.app_secret),
        ("verify_token", &meta.verify_token),
        ("access_token", &meta.access_token),
    ]);
    match missing.len() {
        0 => Check::ok(NAME, "set (not tried)"),
        3 => Check::ok(NAME, "none: no leads come by webhook"),
        _ => Check::bad(NAME, format!("not set: {}", missing.join(", ")), set("META", &missing)),
    }
}

fn telephony(config: &Config) -> Check {
    const NAME: &str = "telephony's credentials";
    let telephony = &config.telephony;
    if telephony.base_url.is_empty() {
        return Check::ok(NAME, "none: no calls are placed");
    }
    let mut missing =
        missing(&[("api_key", &telephony.api_key), ("signing_secret", &telephony.signing_secret)]);
    missing.extend(telephony.caller_id.is_empty().then_some("caller_id"));
    let fix = set("TELEPHONY", &missing);
    if missing.is_empty() {
        Check::ok(NAME, "set (not tried)")
    } else {
        Check::bad(NAME, format!("not set: {}", missing.join(", ")), fix)
    }
}

fn missing(secrets: &[(&'static str, &SecretString)]) -> Vec<&'static str> {
    let empty = secrets.iter().filter(|(_, secret)| secret.expose_secret().is_empty());
    empty.map(|(name, _)| *name).collect()
}

fn set(section: &str, missing: &[&str]) -> String {
    let variable = |name: &&str| format!("SIRA__{section}__{}_FILE=/run/secrets/...", name.to_uppercase());
    missing.iter().map(variable).collect::<Vec<_>>().join(" ")
}

/// Whether the key file opens what is sealed in this database. Makes none.
pub async fn key(config: &Config, pool: &PgPool) -> Check {
    const NAME: &str = "master key";
    let path = config.data.key_file();
    let fix = format!("cp COPY-OF-THE-KEY-FILE {0} && chmod 600 {0} # docs/KEYS.md", path.display());
    let in_use = match list_keks_in_use(pool).await {
        Ok(in_use) => in_use,
        Err(error) => return Check::bad(NAME, error.to_string(), "sira migrate"),
    };
    match LocalKeyFile::load(&path) {
        Err(KeyFileError::Missing { .. }) if in_use.is_empty() => Check::ok(NAME, "nothing is sealed yet"),
        Err(error) => Check::bad(NAME, error.to_string(), fix),
        Ok(file) => match Cipher::new(pool.clone(), std::sync::Arc::new(file)).verify().await {
            Ok(()) => Check::ok(NAME, format!("opens this database ({} in use)", in_use.join(", "))),
            Err(error) => Check::bad(NAME, error.to_string(), fix),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Loaded;

    fn with(variables: &[(&str, &str)]) -> Config {
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Loaded::load(None, &variables).expect("valid").config
    }

    #[test]
    fn credentials_are_all_set_or_none() {
        assert!(meta(&with(&[])).ok, "an installation without Meta is sound");
        let half = meta(&with(&[("SIRA__META__APP_SECRET", "hush-hush")]));
        assert!(!half.ok, "{half:?}");
        assert_eq!(half.found, "not set: verify_token, access_token");
        assert!(
            half.fix.as_ref().is_some_and(|fix| fix.contains("SIRA__META__ACCESS_TOKEN_FILE=")),
            "{half:?}"
        );
        assert!(!format!("{half:?}").contains("hush"), "no secret is told");
        let all = [
            ("SIRA__META__APP_SECRET", "a"),
            ("SIRA__META__VERIFY_TOKEN", "b"),
            ("SIRA__META__ACCESS_TOKEN", "c"),
        ];
        assert_eq!(meta(&with(&all)).found, "set (not tried)");
        assert!(telephony(&with(&[])).ok, "and one without telephony");
    }
}
