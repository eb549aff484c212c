//! Who asks, and whether they may.
//!
//! Every request reads its user again, so that one who was disabled or changed role is out, or changed, at once.
//!
//! **Invariant:** a route answers a stranger only when it was registered as [`Access::Public`] or as one that
//! checks a provider's signature itself.

pub mod keys;
pub mod throttle;
pub mod tokens;

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts, Query, Request};
use axum::middleware::Next;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, header};
use sira_domain::identity::{self, IdentityError, Permission, User};
use sira_domain::live;
use sira_domain::nouns::UserId;
use sira_kernel::Actor;

use super::catalogue::Code;
use super::problem::ApiError;
use super::route::TICKET;
use super::state::App;

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Public,
    /// A provider's signature, which the handler checks over the raw bytes.
    Signature,
    /// A valid token of any active user.
    SignedIn,
    /// A token of a user whose role includes this.
    Needs(Permission),
    /// A peer on this machine where the settings trust it, or a token of a user whose role includes this.
    LocalOr(Permission),
    /// A token of a user whose role includes this, or a ticket of theirs in the address where there is no
    /// `Authorization` header.
    TicketOr(Permission),
}

impl Access {
    /// As published in the OpenAPI document.
    pub fn published(self) -> String {
        match self {
            Self::Public => "public".to_owned(),
            Self::Signature => "signature".to_owned(),
            Self::SignedIn => "signedIn".to_owned(),
            Self::Needs(permission) => permission.as_str().to_owned(),
            Self::LocalOr(permission) => format!("local|{}", permission.as_str()),
            Self::TicketOr(permission) => format!("ticket|{}", permission.as_str()),
        }
    }

    /// Whether a bearer token is of use here.
    pub fn takes_token(self) -> bool {
        !matches!(self, Self::Public | Self::Signature)
    }

    /// Whether a ticket is of use here, too.
    pub fn takes_ticket(self) -> bool {
        matches!(self, Self::TicketOr(_))
    }
}

/// The signed-in user of this request.
#[derive(Debug, Clone)]
pub struct Caller(pub User);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| ApiError::internal("a handler asks for a caller on a route without one"))
    }
}

/// Lets a request through, with its [`Caller`], or refuses it.
pub async fn authorise(access: Access, mut request: Request, next: Next) -> Result<Response, ApiError> {
    let needed = match access {
        Access::Public | Access::Signature => return Ok(next.run(request).await),
        Access::SignedIn => None,
        Access::Needs(permission) | Access::LocalOr(permission) | Access::TicketOr(permission) => {
            Some(permission)
        }
    };
    let app = request.extensions().get::<App>().cloned();
    let app = app.ok_or_else(|| ApiError::internal("a route runs outside of its application"))?;
    if matches!(access, Access::LocalOr(_)) && app.settings.trust_loopback && is_local(&request) {
        return Ok(next.run(request).await);
    }
    let user = match ticket(&request).filter(|_| access.takes_ticket()) {
        Some(ticket) => redeem(&app, &ticket).await?,
        None => authenticate(&app, request.headers()).await?,
    };
    if let Some(permission) = needed.filter(|permission| !user.role.can(*permission)) {
        identity::note_refusal(&app.cx.db, &user, permission).await?;
        return Err(Code::Forbidden.into());
    }
    request.extensions_mut().insert(Caller(user));
    Ok(next.run(request).await)
}

async fn authenticate(app: &App, headers: &HeaderMap) -> Result<User, ApiError> {
    let token = bearer(headers).ok_or(Code::Unauthenticated)?;
    let verified = app.tokens.verify(token).map_err(|_| Code::Unauthenticated)?;
    find_active(app, verified.user).await
}

/// Uses the ticket up, whatever becomes of the request.
async fn redeem(app: &App, ticket: &str) -> Result<User, ApiError> {
    let mut uow = app.cx.begin(Actor::System).await?;
    let now = uow.now();
    let user = live::redeem_ticket(uow.conn(), ticket, now).await?;
    uow.commit().await?;
    find_active(app, user.ok_or(Code::Unauthenticated)?).await
}

async fn find_active(app: &App, user: UserId) -> Result<User, ApiError> {
    let mut conn = app.cx.db.read().await?;
    let user = identity::find_user(&mut conn, user).await?;
    user.filter(|user| user.active).ok_or_else(|| Code::Unauthenticated.into())
}

/// The ticket of an address, for a request without a header to sign in by.
fn ticket(request: &Request) -> Option<String> {
    if request.headers().contains_key(header::AUTHORIZATION) {
        return None;
    }
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(request.uri()).ok()?;
    pairs.into_iter().find(|(name, _)| name == TICKET).map(|(_, ticket)| ticket)
}

/// The token of the one `Authorization: Bearer` header; two are none.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(only), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// Whether the peer is on this machine and speaks for itself. A reverse proxy on this machine is a local peer
/// too; most say for whom they speak, and for one that does not the setting is left off.
fn is_local(request: &Request) -> bool {
    let forwarded = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    peer.is_some_and(|ConnectInfo(peer)| peer.ip().to_canonical().is_loopback())
        && !forwarded.iter().any(|name| request.headers().contains_key(*name))
}

impl From<IdentityError> for ApiError {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Database(error) => error.into(),
            other => Self::internal(other),
        }
    }
}
