//! What somebody puts in the place of what a person had written.

use serde::{Deserialize, Serialize};
use sira_kernel::{EmailAddress, PhoneNumber};

use crate::nouns::InboundId;
use crate::privacy::{DataKey, Field, PrivacyError};

/// Where a correction is sealed; the row is the event.
const CORRECTION: Field = Field { table: "inbound_events", column: "correction" };

/// A right number, a right address, or both. Has no `Debug`: it is personal data.
#[derive(Default)]
pub struct Correction {
    /// In the place of all numbers that were given.
    pub phone: Option<PhoneNumber>,
    /// In the place of all addresses that were given.
    pub email: Option<EmailAddress>,
}

/// The stored form.
#[derive(Serialize, Deserialize)]
struct Stored {
    phone: Option<String>,
    email: Option<String>,
}

impl Correction {
    /// Nothing is corrected.
    pub fn is_empty(&self) -> bool {
        self.phone.is_none() && self.email.is_none()
    }

    /// Under the event's own key.
    pub fn seal(&self, key: &DataKey, id: InboundId) -> Vec<u8> {
        let stored = Stored {
            phone: self.phone.as_ref().map(|phone| phone.e164().to_owned()),
            email: self.email.as_ref().map(|email| email.as_str().to_owned()),
        };
        key.seal(CORRECTION, id.uuid(), &serde_json::to_vec(&stored).expect("strings are always JSON"))
    }

    /// Reads what [`Correction::seal`] made.
    pub fn open(key: &DataKey, id: InboundId, sealed: &[u8]) -> Result<Self, PrivacyError> {
        let opened = key.open(CORRECTION, id.uuid(), sealed)?;
        let stored: Stored = serde_json::from_slice(&opened).map_err(|_| PrivacyError::DoesNotOpen)?;
        // E.164: no region decides.
        let phone = stored.phone.map(|phone| PhoneNumber::parse(&phone, "")).transpose();
        let email = stored.email.map(|email| EmailAddress::parse(&email)).transpose();
        Ok(Self {
            phone: phone.map_err(|_| PrivacyError::DoesNotOpen)?,
            email: email.map_err(|_| PrivacyError::DoesNotOpen)?,
        })
    }
}
