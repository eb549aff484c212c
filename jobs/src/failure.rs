//! What failures that several jobs share mean to the engine.

use sira_domain::privacy::PrivacyError;
use sira_engine::JobError;

/// A key that is not to be had.
pub fn privacy(error: PrivacyError) -> JobError {
    match error {
        PrivacyError::Database(error) => error.into(),
        PrivacyError::Provider(_) => JobError::retry("key_provider", "the key provider is not there"),
        other => JobError::fail("key", other.to_string()),
    }
}
