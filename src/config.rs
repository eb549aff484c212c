//! Typed settings: defaults, then the file, then the environment; checked at boot, all errors at once.
//!
//! The defaults are `config.toml` itself, compiled in, so the documented default is the default in force. A setting's
//! type is its default's type.
//!
//! **Invariant:** only this module reads the environment.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use toml::{Table, Value};

/// The documented defaults.
const DEFAULTS: &str = include_str!("../config.toml");
/// Begins every variable that sets a setting.
const PREFIX: &str = "SIRA__";
/// Names the configuration file.
const FILE_VARIABLE: &str = "SIRA_CONFIG";
/// Where it is looked for when nothing names it: here, then where the package puts it.
const FILES_DEFAULT: [&str; 2] = ["config.toml", "/etc/sira/config.toml"];
/// A variable that ends in this names a file that holds the value.
const FILE_SUFFIX: &str = "_FILE";
/// Never printed.
const SECRETS: [&str; 7] = [
    "database.url",
    "database.direct_url",
    "meta.app_secret",
    "meta.verify_token",
    "meta.access_token",
    "telephony.api_key",
    "telephony.signing_secret",
];

/// Every setting, valid.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where data lies.
    pub data: Data,
    /// The database.
    pub database: Database,
    /// The private PostgreSQL.
    pub postgres: Postgres,
    /// The HTTP server.
    pub http: Http,
    /// The durable engine.
    pub engine: Engine,
    /// Meta Lead Ads.
    pub meta: Meta,
    /// Masked calls.
    pub telephony: Telephony,
    /// The providers' stand-in.
    pub sandbox: Sandbox,
    /// Leads coming in.
    pub intake: Intake,
    /// Leads given out.
    pub distribution: Distribution,
    /// Logs.
    pub log: Log,
}

/// Where data lies.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Keys, generated secrets, the private PostgreSQL.
    pub dir: PathBuf,
}

/// The database.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// Empty: the private PostgreSQL.
    pub url: SecretString,
    /// Past the pooler, when `url` goes through one; empty: `url`.
    pub direct_url: SecretString,
    /// Whether `url` goes through a pooler that lends a session to each transaction.
    pub pooled: bool,
    /// Connections of one process.
    pub connections_max: u32,
}

/// The private PostgreSQL.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// Where its programs are; empty: looked for.
    pub bin_dir: PathBuf,
}

/// The HTTP server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    /// What every path of the API begins with.
    pub base_path: String,
    /// Milliseconds of one request.
    pub request_timeout_ms: u64,
    /// Whether callers on this machine read `/metrics`, `/docs` and `/version` without a token.
    pub trust_loopback: bool,
}

/// The durable engine.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    /// Milliseconds without renewal after which a process is taken for dead.
    pub lease_ttl_ms: u64,
    /// Milliseconds between renewals.
    pub renew_ms: u64,
    /// Milliseconds without renewal after which a process stops its own jobs.
    pub stop_after_ms: u64,
    /// Milliseconds between looks for due work.
    pub poll_ms: u64,
    /// Milliseconds that a stop waits for running jobs.
    pub drain_ms: u64,
    /// Jobs that one claim takes.
    pub claim_batch_max: u16,
    /// Days for which finished jobs, attempts and workflows are kept.
    pub history_days: u16,
}

/// Meta Lead Ads.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meta {
    /// The Graph API.
    pub base_url: String,
    /// `v` and two numbers.
    pub api_version: String,
    /// Signs webhooks.
    pub app_secret: SecretString,
    /// Answers the webhook handshake.
    pub verify_token: SecretString,
    /// Opens the Graph API.
    pub access_token: SecretString,
    /// Milliseconds of one call.
    pub timeout_ms: u64,
}

/// Masked calls.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telephony {
    /// Empty: no calls are placed.
    pub base_url: String,
    /// Opens the provider's API.
    pub api_key: SecretString,
    /// Signs webhooks.
    pub signing_secret: SecretString,
    /// The number that both sides see.
    pub caller_id: String,
    /// Milliseconds of one request.
    pub timeout_ms: u64,
    /// Seconds that the other side is rung.
    pub ring_timeout_s: u32,
    /// Calls of one user in a minute.
    pub calls_per_user_per_minute: u32,
    /// Calls to one lead in an hour.
    pub calls_per_lead_per_hour: u32,
}

/// The providers' stand-in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sandbox {
    /// Whether it runs in this process.
    pub enabled: bool,
    /// Leads that arrive by themselves.
    pub leads_per_minute: u32,
}

/// Leads coming in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intake {
    /// ISO 3166 region that national phone numbers are read in.
    pub phone_region: String,
}

/// Leads given out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distribution {
    /// Waiting leads that one transaction assigns.
    pub assign_batch_max: u16,
    /// Seconds after which a waiting lead is reported.
    pub waiting_alarm_after_s: u64,
}

/// Logs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// How lines are written.
    pub format: LogFormat,
    /// Directives of tracing-subscriber.
    pub filter: String,
    /// Where spans are sent by OTLP over HTTP; empty: nowhere.
    pub otlp_url: String,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one object a line.
    Json,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nothing was said.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// This variable.
    Variable(String),
    /// The file that this variable names.
    SecretFile(String, PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(f, "default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Variable(name) => write!(f, "environment {name}"),
            Self::SecretFile(name, path) => write!(f, "file {} by {name}", path.display()),
        }
    }
}

/// Everything that is wrong with the configuration, one line each.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration is not valid:\n  {}", .0.join("\n  "))]
pub struct Errors(pub Vec<String>);

/// The settings in force, with where each comes from.
#[derive(Debug)]
pub struct Loaded {
    /// Typed.
    pub config: Config,
    settings: Settings,
}

/// One setting, fit to be printed.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown {
    /// `section.key`
    pub key: String,
    /// As TOML; a secret says only whether it is set.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// `section.key` -> value and origin; flat, because every section has one level.
type Settings = BTreeMap<String, (Value, Origin)>;

impl Loaded {
    /// Reads the file named by `--config`, by `SIRA_CONFIG`, or the first that is there of `./config.toml` and the
    /// installed package's, and the environment.
    ///
    /// # Errors
    /// Unknown keys, wrong types, values out of bounds, unreadable files: all of them.
    pub fn from_environment(file: Option<PathBuf>) -> Result<Self, Errors> {
        let variables: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let named = file.or_else(|| {
            variables.iter().find(|(name, _)| name == FILE_VARIABLE).map(|(_, path)| PathBuf::from(path))
        });
        let file = named.or_else(|| FILES_DEFAULT.map(PathBuf::from).into_iter().find(|path| path.exists()));
        Self::load(file.as_deref(), &variables)
    }

    /// From exactly this file and these variables.
    pub fn load(file: Option<&Path>, variables: &[(String, String)]) -> Result<Self, Errors> {
        let mut settings = defaults();
        let mut errors = Vec::new();
        if let Some(path) = file {
            overlay_file(&mut settings, path, &mut errors);
        }
        for (name, value) in variables {
            overlay_variable(&mut settings, name, value, &mut errors);
        }
        match deserialize(&settings, &mut errors) {
            Some(config) if errors.is_empty() => Ok(Self { config, settings }),
            _ => Err(Errors(errors)),
        }
    }

    /// Every setting in force, sorted by key, secrets redacted.
    pub fn show(&self) -> Vec<Shown> {
        let shown = self.settings.iter().map(|(key, (value, origin))| {
            let is_empty = value.as_str().is_some_and(str::is_empty);
            let is_secret = SECRETS.contains(&key.as_str()) && !is_empty;
            let value = if is_secret { "\"[redacted]\"".to_owned() } else { value.to_string() };
            Shown { key: key.clone(), value, origin: origin.clone() }
        });
        shown.collect()
    }
}

impl Data {
    /// The key that all personal data is sealed under. Its loss is the loss of that data: see the backup's page.
    pub fn key_file(&self) -> PathBuf {
        self.dir.join("master.key")
    }
}

impl Config {
    /// How the private PostgreSQL is run; `None` when `database.url` names another.
    pub fn private_postgres(&self) -> Option<sira_postgres::Settings> {
        if !self.database.url.expose_secret().is_empty() {
            return None;
        }
        Some(sira_postgres::Settings { bin_dir: self.postgres_bin_dir(), data_dir: self.data.dir.clone() })
    }

    /// Where PostgreSQL's programs are, when that is said; else they are looked for.
    pub fn postgres_bin_dir(&self) -> Option<PathBuf> {
        Some(self.postgres.bin_dir.clone()).filter(|dir| !dir.as_os_str().is_empty())
    }

    /// What no type says: bounds, and settings that must agree. Each error begins with the key.
    fn check(&self, errors: &mut Vec<String>) {
        let mut require = |holds: bool, says: &str| {
            if !holds {
                errors.push(says.to_owned());
            }
        };
        let url = self.database.url.expose_secret();
        require(
            url.is_empty() || url.starts_with("postgres://") || url.starts_with("postgresql://"),
            "database.url: must begin with postgres://",
        );
        let direct = self.database.direct_url.expose_secret();
        require(
            direct.is_empty() || direct.starts_with("postgres://") || direct.starts_with("postgresql://"),
            "database.direct_url: must begin with postgres://",
        );
        require(
            !self.database.pooled || (!url.is_empty() && !direct.is_empty()),
            "database.pooled: needs database.url, through the pooler, and database.direct_url, past it",
        );
        require(!self.data.dir.as_os_str().is_empty(), "data.dir: must not be empty");
        require((4..=1000).contains(&self.database.connections_max), "database.connections_max: 4 to 1000");
        let base = &self.http.base_path;
        require(
            base.starts_with('/') && !base.ends_with('/'),
            "http.base_path: must begin, and not end, with a slash",
        );
        require(
            (100..=600_000).contains(&self.http.request_timeout_ms),
            "http.request_timeout_ms: 100 to 600000",
        );
        let (token, secret) = (&self.meta.access_token, &self.meta.app_secret);
        require(
            token.expose_secret().is_empty() || !secret.expose_secret().is_empty(),
            "meta.app_secret: must be set beside meta.access_token, or no webhook can be verified",
        );
        let engine = &self.engine;
        require((100..=600_000).contains(&engine.lease_ttl_ms), "engine.lease_ttl_ms: 100 to 600000");
        require(
            engine.renew_ms > 0
                && engine.renew_ms < engine.stop_after_ms
                && engine.stop_after_ms < engine.lease_ttl_ms,
            "engine: renew_ms < stop_after_ms < lease_ttl_ms must hold, or a job runs in two places",
        );
        require((1..=60_000).contains(&engine.poll_ms), "engine.poll_ms: 1 to 60000");
        require(engine.drain_ms <= 600_000, "engine.drain_ms: at most 600000");
        require((1..=1000).contains(&engine.claim_batch_max), "engine.claim_batch_max: 1 to 1000");
        require((1..=3650).contains(&engine.history_days), "engine.history_days: 1 to 3650");
        self.check_meta(&mut require);
        self.check_telephony(&mut require);
        let region = self.intake.phone_region.as_bytes();
        require(
            region.len() == 2 && region.iter().all(u8::is_ascii_uppercase),
            "intake.phone_region: two capital letters",
        );
        require(
            (1..=1000).contains(&self.distribution.assign_batch_max),
            "distribution.assign_batch_max: 1 to 1000",
        );
        require(
            (1..=86_400).contains(&self.distribution.waiting_alarm_after_s),
            "distribution.waiting_alarm_after_s: 1 to 86400",
        );
        require(self.sandbox.leads_per_minute <= 60_000, "sandbox.leads_per_minute: at most 60000");
        require(
            tracing_subscriber::EnvFilter::try_new(&self.log.filter).is_ok(),
            "log.filter: not a list of directives, such as info,sira_engine=debug",
        );
        let otlp_url = &self.log.otlp_url;
        require(
            otlp_url.is_empty() || otlp_url.starts_with("http://") || otlp_url.starts_with("https://"),
            "log.otlp_url: not an http address, such as http://localhost:4318/v1/traces",
        );
    }

    fn check_telephony(&self, require: &mut impl FnMut(bool, &str)) {
        let telephony = &self.telephony;
        let configured = !telephony.base_url.is_empty();
        let secrets = [&telephony.api_key, &telephony.signing_secret];
        require(
            !configured || secrets.iter().all(|secret| !secret.expose_secret().is_empty()),
            "telephony: api_key and signing_secret must be set beside base_url",
        );
        require((100..=120_000).contains(&telephony.timeout_ms), "telephony.timeout_ms: 100 to 120000");
        require((5..=120).contains(&telephony.ring_timeout_s), "telephony.ring_timeout_s: 5 to 120");
        require(
            (1..=10_000).contains(&telephony.calls_per_user_per_minute),
            "telephony.calls_per_user_per_minute: 1 to 10000",
        );
        require(
            (1..=1_000).contains(&telephony.calls_per_lead_per_hour),
            "telephony.calls_per_lead_per_hour: 1 to 1000",
        );
    }

    fn check_meta(&self, require: &mut impl FnMut(bool, &str)) {
        let meta = &self.meta;
        require(
            meta.base_url.starts_with("https://") || meta.base_url.starts_with("http://127.0.0.1"),
            "meta.base_url: must begin with https:// (http:// to 127.0.0.1 only)",
        );
        let version = meta.api_version.strip_prefix('v').and_then(|version| version.split_once('.'));
        require(
            version
                .is_some_and(|(major, minor)| major.parse::<u16>().is_ok() && minor.parse::<u16>().is_ok()),
            "meta.api_version: such as v26.0",
        );
        require((100..=120_000).contains(&meta.timeout_ms), "meta.timeout_ms: 100 to 120000");
    }
}

fn defaults() -> Settings {
    let table: Table = DEFAULTS.parse().expect("the defaults are compiled in and a test reads them");
    flatten(table, &Origin::Default, &mut Vec::new())
}

/// `[section] key = value` to `section.key`; what is not in a section is an error.
fn flatten(table: Table, origin: &Origin, errors: &mut Vec<String>) -> Settings {
    let mut settings = Settings::new();
    for (section, value) in table {
        let Value::Table(keys) = value else {
            errors.push(format!("{section}: unknown setting outside a [section] ({origin})"));
            continue;
        };
        for (key, value) in keys {
            settings.insert(format!("{section}.{key}"), (value, origin.clone()));
        }
    }
    settings
}

fn overlay_file(settings: &mut Settings, path: &Path, errors: &mut Vec<String>) {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return errors.push(format!("{}: {error}", path.display())),
    };
    let table: Table = match text.parse() {
        Ok(table) => table,
        // The parser's long form quotes the line, which may hold a secret.
        Err(error) => return errors.push(format!("{}: {}", path.display(), error.message())),
    };
    for (key, (value, origin)) in flatten(table, &Origin::File(path.to_owned()), errors) {
        overlay(settings, &key, value, origin, errors);
    }
}

fn overlay_variable(settings: &mut Settings, name: &str, value: &str, errors: &mut Vec<String>) {
    let Some(path) = name.strip_prefix(PREFIX) else { return };
    let key = path.to_ascii_lowercase().replacen("__", ".", 1);
    if let Some((default, _)) = settings.get(&key) {
        let value = typed(value, default);
        return overlay(settings, &key, value, Origin::Variable(name.to_owned()), errors);
    }
    let file_key = key.strip_suffix(&FILE_SUFFIX.to_ascii_lowercase()).unwrap_or(&key);
    let Some((default, _)) = settings.get(file_key) else {
        return errors.push(format!("{name}: there is no such setting"));
    };
    match fs::read_to_string(value) {
        Ok(text) => {
            let value_read = typed(text.trim_end_matches(['\r', '\n']), default);
            let origin = Origin::SecretFile(name.to_owned(), PathBuf::from(value));
            overlay(settings, file_key, value_read, origin, errors);
        }
        Err(error) => errors.push(format!("{name}: {value}: {error}")),
    }
}

/// A variable is text; what it means is decided by the default's type. What does not parse stays text, and is
/// refused with the others.
fn typed(text: &str, default: &Value) -> Value {
    let parsed = match default {
        Value::Integer(_) => text.trim().parse().ok().map(Value::Integer),
        Value::Boolean(_) => text.trim().parse().ok().map(Value::Boolean),
        _ => None,
    };
    parsed.unwrap_or_else(|| Value::String(text.to_owned()))
}

fn overlay(settings: &mut Settings, key: &str, value: Value, origin: Origin, errors: &mut Vec<String>) {
    match settings.get_mut(key) {
        None => errors.push(format!("{key}: there is no such setting ({origin})")),
        Some((old, _)) if !old.same_type(&value) => {
            errors.push(format!(
                "{key}: must be of type {}, not {} ({origin})",
                old.type_str(),
                value.type_str()
            ));
        }
        Some(slot) => *slot = (value, origin),
    }
}

/// Each key alone in the place of its default first, so that one bad value does not hide the next.
fn deserialize(settings: &Settings, errors: &mut Vec<String>) -> Option<Config> {
    let before = errors.len();
    for (key, (value, origin)) in settings {
        if *origin == Origin::Default {
            continue;
        }
        let mut alone = defaults();
        alone.insert(key.clone(), (value.clone(), origin.clone()));
        if let Err(error) = nest(&alone).try_into::<Config>() {
            // Serde quotes the value it does not like.
            let says = if SECRETS.contains(&key.as_str()) { "not valid" } else { error.message() };
            errors.push(format!("{key}: {} ({origin})", says.trim()));
        }
    }
    if errors.len() > before {
        return None;
    }
    let config = nest(settings).try_into::<Config>();
    let config = config.map_err(|error| errors.push(error.message().to_owned())).ok()?;
    config.check(errors);
    Some(config)
}

fn nest(settings: &Settings) -> Value {
    let mut table = Table::new();
    for (key, (value, _)) in settings {
        let (section, key) = key.split_once('.').expect("flatten joined them");
        let keys = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
        keys.as_table_mut().expect("a section").insert(key.to_owned(), value.clone());
    }
    Value::Table(table)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("written");
        file
    }

    fn shown(loaded: &Loaded, key: &str) -> Shown {
        loaded.show().into_iter().find(|shown| shown.key == key).expect("a setting")
    }

    #[test]
    fn the_documented_defaults_are_complete_known_and_valid() {
        // deny_unknown_fields refuses what is too much, required fields what is missing.
        let loaded = Loaded::load(None, &[]).expect("valid");
        assert_eq!(loaded.config.http.listen.port(), 8080);
        assert!(loaded.show().iter().all(|shown| shown.origin == Origin::Default));
    }

    #[test]
    fn every_default_has_a_comment() {
        let lines: Vec<&str> = DEFAULTS.lines().collect();
        for (n, line) in
            lines.iter().enumerate().filter(|(_, line)| line.contains(" = ") && !line.starts_with('#'))
        {
            let mut above =
                lines[..n].iter().rev().take_while(|line| !line.is_empty() && !line.starts_with('['));
            assert!(above.any(|line| line.starts_with('#')), "no comment over {line}");
        }
    }

    #[test]
    fn the_environment_beats_the_file_and_the_file_the_default() {
        let file = file("[http]\nlisten = \"127.0.0.1:1\"\nrequest_timeout_ms = 2048\n");
        let loaded = Loaded::load(Some(file.path()), &variables(&[("SIRA__HTTP__LISTEN", "127.0.0.1:2")]))
            .expect("valid");
        assert_eq!(loaded.config.http.listen.port(), 2);
        assert_eq!(loaded.config.http.request_timeout_ms, 2048);
        assert_eq!(shown(&loaded, "http.listen").origin, Origin::Variable("SIRA__HTTP__LISTEN".to_owned()));
        assert_eq!(shown(&loaded, "http.request_timeout_ms").origin, Origin::File(file.path().to_owned()));
        assert_eq!(shown(&loaded, "http.base_path").origin, Origin::Default);
    }

    #[test]
    fn all_errors_are_told_at_once() {
        let file = file("loose = 1\n[http]\nlisten = 7\n[engine]\nnonsense = 1\n");
        let variables = variables(&[
            ("SIRA__LOG__FORMAT", "xml"),
            ("SIRA__NO__SUCH", "1"),
            ("SIRA__ENGINE__POLL_MS", "soon"),
            ("SIRA__DATABASE__URL_FILE", "/nonexistent/secret"),
        ]);
        let Errors(errors) = Loaded::load(Some(file.path()), &variables).expect_err("all wrong");
        let begins = [
            "loose:",
            "http.listen:",
            "engine.nonsense:",
            "log.format:",
            "SIRA__NO__SUCH:",
            "engine.poll_ms:",
            "SIRA__DATABASE__URL_FILE:",
        ];
        for begin in begins {
            assert!(errors.iter().any(|error| error.starts_with(begin)), "{begin} is missing in {errors:#?}");
        }
        assert_eq!(errors.len(), begins.len(), "{errors:#?}");
    }

    #[test]
    fn bounds_and_agreement_are_checked() {
        for (name, value, key) in [
            ("SIRA__ENGINE__STOP_AFTER_MS", "20000", "engine:"),
            ("SIRA__HTTP__BASE_PATH", "api/", "http.base_path:"),
            ("SIRA__DATABASE__URL", "mysql://x", "database.url:"),
            ("SIRA__DATABASE__POOLED", "true", "database.pooled:"),
            ("SIRA__DATABASE__DIRECT_URL", "mysql://x", "database.direct_url:"),
            ("SIRA__DATABASE__CONNECTIONS_MAX", "0", "database.connections_max:"),
            ("SIRA__META__BASE_URL", "http://example.com", "meta.base_url:"),
            ("SIRA__META__API_VERSION", "26", "meta.api_version:"),
            ("SIRA__INTAKE__PHONE_REGION", "Turkey", "intake.phone_region:"),
            ("SIRA__DISTRIBUTION__ASSIGN_BATCH_MAX", "-1", "distribution.assign_batch_max:"),
            ("SIRA__LOG__FILTER", "a=b=c", "log.filter:"),
            ("SIRA__LOG__OTLP_URL", "localhost:4318", "log.otlp_url:"),
        ] {
            let Errors(errors) = Loaded::load(None, &variables(&[(name, value)])).expect_err(name);
            assert!(errors.len() == 1 && errors[0].starts_with(key), "{name}: {errors:?}");
        }
    }

    #[test]
    fn secrets_come_from_files_and_are_never_shown() {
        let secret = file("hunter2hunter2\n");
        let path = secret.path().to_str().expect("UTF-8");
        let loaded = Loaded::load(None, &variables(&[("SIRA__META__APP_SECRET_FILE", path)])).expect("valid");
        assert_eq!(loaded.config.meta.app_secret.expose_secret(), "hunter2hunter2");
        assert_eq!(shown(&loaded, "meta.app_secret").value, "\"[redacted]\"");
        assert!(!format!("{:?}", loaded.config).contains("hunter2"));
        assert_eq!(shown(&loaded, "meta.verify_token").value, "\"\"");
    }

    #[test]
    fn a_wrong_secret_is_not_quoted() {
        let file = file("[meta]\napp_secret = hunter2\n");
        let Errors(errors) = Loaded::load(Some(file.path()), &[]).expect_err("not TOML");
        assert!(!errors.concat().contains("hunter2"), "{errors:?}");
        let named = variables(&[("SIRA__DATABASE__URL", "hunter2")]);
        let Errors(errors) = Loaded::load(None, &named).expect_err("no URL");
        assert!(!errors.concat().contains("hunter2"), "{errors:?}");
    }
}
