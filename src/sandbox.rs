//! The providers' other side inside this process: for demos and checks, never with real credentials.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use sira_kernel::Clock;
use sira_sandbox::{CALL_PACE, Sandbox, Settings};

use crate::config::Config;
use crate::secrets;

/// Random bytes of each generated secret.
const SECRET_BYTES: usize = 24;

/// The line that masked calls show: a range that Turkey has not assigned.
const CALLER_ID: &str = "+908500000000";

/// Starts the sandbox with secrets of its own, and points this process' clients and webhooks at it.
pub async fn start(config: &mut Config) -> anyhow::Result<Sandbox> {
    let settings = Settings {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        access_token: secret(),
        app_secret: secret(),
        verify_token: secret(),
        // A new one each time: on data of an earlier run the same leads would be redeliveries.
        seed: rand::random(),
        telephony_key: secret(),
        telephony_signing_secret: signing_secret(),
        call_pace: CALL_PACE,
    };
    config.meta.access_token = settings.access_token.clone();
    config.meta.app_secret = settings.app_secret.clone();
    config.meta.verify_token = settings.verify_token.clone();
    config.telephony.api_key = settings.telephony_key.clone();
    config.telephony.signing_secret = settings.telephony_signing_secret.clone();
    CALLER_ID.clone_into(&mut config.telephony.caller_id);
    let sandbox = Sandbox::start(settings, Clock::system()).await?;
    sandbox.base_url().clone_into(&mut config.meta.base_url);
    sandbox.base_url().clone_into(&mut config.telephony.base_url);
    Ok(sandbox)
}

fn address_file(data: &Path) -> PathBuf {
    data.join("sandbox_url")
}

/// Leaves word where the sandbox of this process listens, for commands in other processes.
pub fn announce(data: &Path, sandbox: &Sandbox) -> anyhow::Result<()> {
    let path = address_file(data);
    secrets::write(&path, sandbox.base_url().as_bytes())
        .with_context(|| format!("writing {}", path.display()))
}

/// Takes the word back. A process that was killed leaves it; nobody answers there then.
pub fn withdraw(data: &Path) {
    let _ = std::fs::remove_file(address_file(data));
}

/// Where the sandbox of a running process listens.
///
/// # Errors
/// When none runs on this data directory.
pub fn find(data: &Path) -> anyhow::Result<String> {
    let path = address_file(data);
    match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => anyhow::bail!(
            "no sandbox runs on {}: start `sira up --demo` first, with the same data directory",
            data.display()
        ),
        read => read.with_context(|| format!("reading {}", path.display())),
    }
}

fn secret() -> SecretString {
    let bytes: [u8; SECRET_BYTES] = rand::random();
    SecretString::from(hex::encode(bytes))
}

/// In the form of Standard Webhooks.
fn signing_secret() -> SecretString {
    let bytes: [u8; SECRET_BYTES] = rand::random();
    SecretString::from(format!("whsec_{}", STANDARD.encode(bytes)))
}
