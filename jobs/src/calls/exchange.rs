//! What a provider said, in the domain's words.

use sira_domain::calls::{self, Call, Direction, Exchange, Leg, LegEvent, LegState, NewExchange, Placed};
use sira_domain::privacy::DataKey;
use sira_domain::uow::Uow;
use sira_engine::JobError;
use sira_providers::ProviderError;
use sira_providers::telephony;

/// Keeps an exchange about a call, sealed under the lead's key.
pub async fn keep(
    uow: &mut Uow,
    key: &DataKey,
    call: &Call,
    (said, failure): (telephony::Exchange, Option<&ProviderError>),
) -> Result<(), JobError> {
    let exchange = Exchange {
        request: said.request,
        response: said.response,
        request_redacted: said.request_redacted,
        response_redacted: said.response_redacted,
    };
    let new = NewExchange {
        provider: &call.provider,
        operation: said.operation,
        direction: Direction::Out,
        call: Some(call.id),
        lead: Some(call.lead),
        provider_ref: call.provider_ref.as_deref(),
        http_status: said.http_status,
        latency: said.latency,
        failure: failure.map(|error| error.kind.name()),
        exchange: &exchange,
    };
    Ok(calls::keep_exchange(uow, key, &new).await?)
}

/// All that a provider knows of a call.
pub fn placed(snapshot: telephony::CallSnapshot) -> Placed {
    Placed {
        provider_ref: snapshot.provider_ref,
        dial_url: None,
        news: snapshot.events.into_iter().map(news).collect(),
        conclusive: true,
    }
}

/// One piece of news.
pub fn news(event: telephony::LegEvent) -> LegEvent {
    LegEvent {
        leg: match event.leg {
            telephony::Leg::Agent => Leg::Agent,
            telephony::Leg::Callee => Leg::Callee,
        },
        state: match event.state {
            telephony::LegState::Initiated => LegState::Initiated,
            telephony::LegState::Ringing => LegState::Ringing,
            telephony::LegState::Answered => LegState::Answered,
            telephony::LegState::Completed => LegState::Completed,
            telephony::LegState::Busy => LegState::Busy,
            telephony::LegState::NoAnswer => LegState::NoAnswer,
            telephony::LegState::Failed => LegState::Failed,
            telephony::LegState::Canceled => LegState::Canceled,
        },
        at: event.at,
        talk_s: event.talk.map(|talk| i32::try_from(talk.as_secs()).unwrap_or(i32::MAX)),
        failure: event.failure.map(|kind| kind.name().to_owned()),
    }
}
