//! The providers' other side inside this process: for demos and checks, never with real credentials.

use std::net::{Ipv4Addr, SocketAddr};

use secrecy::SecretString;
use sira_kernel::Clock;
use sira_sandbox::{Sandbox, Settings};

use crate::config::Config;

/// Random bytes of each generated secret.
const SECRET_BYTES: usize = 24;

/// Starts the sandbox with secrets of its own, and points this process' Meta client and webhook at it.
pub async fn start(config: &mut Config) -> anyhow::Result<Sandbox> {
    let settings = Settings {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        access_token: secret(),
        app_secret: secret(),
        verify_token: secret(),
        // A new one each time: on data of an earlier run the same leads would be redeliveries.
        seed: rand::random(),
    };
    config.meta.access_token = settings.access_token.clone();
    config.meta.app_secret = settings.app_secret.clone();
    config.meta.verify_token = settings.verify_token.clone();
    let sandbox = Sandbox::start(settings, Clock::system()).await?;
    sandbox.base_url().clone_into(&mut config.meta.base_url);
    Ok(sandbox)
}

fn secret() -> SecretString {
    let bytes: [u8; SECRET_BYTES] = rand::random();
    SecretString::from(hex::encode(bytes))
}
