//! Providers that nobody is to call in a test.

use std::pin::Pin;
use std::sync::Arc;

use chrono::TimeDelta;
use sira_domain::calls;
use sira_providers::telephony::{Answer, CallRequest, CallSnapshot, PlacedCall, Telephony};

/// A telephony provider that must not be asked.
struct Unasked;

impl Telephony for Unasked {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    fn place_call<'a>(
        &'a self,
        _: &'a CallRequest<'a>,
    ) -> Pin<Box<dyn Future<Output = Answer<PlacedCall>> + Send + 'a>> {
        Box::pin(async { panic!("nobody is called here") })
    }

    fn find_call<'a>(
        &'a self,
        _: &'a str,
    ) -> Pin<Box<dyn Future<Output = Answer<Option<CallSnapshot>>> + Send + 'a>> {
        Box::pin(async { panic!("nobody is called here") })
    }
}

/// A telephony provider that must not be asked.
pub fn unasked_telephony() -> Arc<dyn Telephony> {
    Arc::new(Unasked)
}

/// How calls are made in tests: as in the defaults.
pub fn call_rules() -> calls::Rules {
    calls::Rules {
        provider: "sandbox",
        ring_timeout: TimeDelta::seconds(30),
        limits: calls::Limits { user_per_minute: 20, lead_per_hour: 6 },
    }
}
