//! What the tests of live updates stand on: the application over a listening socket, and clients that listen.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use serde_json::Value;
use sira::http::{App, Settings};
use sira_domain::nouns::LeadId;
use sira_domain::{Db, Event, live};
use sira_kernel::Actor;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::http::app::TestApp;

/// How long a test waits for what must come; reaching it is a failure.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Quick enough that a test need not wait for it.
pub const HEARTBEAT: Duration = Duration::from_millis(100);

/// One process that serves.
pub struct Served {
    pub stop: CancellationToken,
    address: SocketAddr,
    client: reqwest::Client,
    serving: AbortOnDropHandle<()>,
}

/// One event as a client has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// 0 where there is none.
    pub id: i64,
    pub name: String,
    pub data: Value,
}

impl Heard {
    /// The lead that it is about.
    pub fn lead(&self) -> LeadId {
        serde_json::from_value(self.data["leadId"].clone()).unwrap()
    }
}

/// One client that listens.
pub struct Listener {
    response: reqwest::Response,
    text: String,
}

impl Served {
    /// Serves this application until its own `stop`, which is the hub's too.
    #[expect(clippy::disallowed_methods, reason = "owned: aborted with its handle")]
    pub async fn start(app: &App, settings: Settings, stop: &CancellationToken) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (router, stop) = (sira::http::router(app.clone()).unwrap(), stop.clone());
        let stopped = stop.clone();
        let serving =
            tokio::spawn(async move { sira::http::serve(listener, router, &settings, stopped).await });
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { stop, address, client, serving: AbortOnDropHandle::new(serving) }
    }

    /// Serves the application of a test.
    pub async fn of(app: &TestApp) -> Self {
        Self::start(&app.app, app.app.settings.clone(), &app.stop).await
    }

    /// Opens `/events` with what is appended to the address, and with a header.
    pub async fn ask(&self, query: &str, header: Option<(&'static str, &str)>) -> reqwest::Response {
        self.ask_at(&format!("/events{query}"), header).await
    }

    /// Opens another stream.
    pub async fn ask_at(&self, path: &str, header: Option<(&'static str, &str)>) -> reqwest::Response {
        let mut request = self.client.get(format!("http://{}/api/v1{path}", self.address));
        if let Some((name, value)) = header {
            request = request.header(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        request.send().await.unwrap()
    }

    /// A client that begins now; answers what `hello` said, too.
    pub async fn listen(&self, token: &str) -> (Listener, Heard) {
        self.resume(token, "").await
    }

    /// A client that goes on from where the query says.
    pub async fn resume(&self, token: &str, query: &str) -> (Listener, Heard) {
        let response = self.ask(query, Some(("authorization", &format!("Bearer {token}")))).await;
        Listener::begin(response).await
    }

    /// Stops, and waits for the end.
    pub async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.serving).await.expect("it stops at once").unwrap();
    }
}

impl Listener {
    /// Takes the answer for a stream and reads its `hello`.
    pub async fn begin(response: reqwest::Response) -> (Self, Heard) {
        assert_eq!(response.status(), 200);
        let mut listener = Self { response, text: String::new() };
        let hello = listener.any().await.expect("a stream begins");
        assert_eq!(hello.name, "hello");
        (listener, hello)
    }

    /// The header of the answer; empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The next event, heartbeats too; none at the end of the stream.
    pub async fn any(&mut self) -> Option<Heard> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let heard = parse(event);
                let rest = rest.to_owned();
                self.text = rest;
                return Some(heard);
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await;
            match chunk.expect("the stream goes on, or ends").unwrap() {
                Some(chunk) => self.text.push_str(std::str::from_utf8(&chunk).unwrap()),
                None => return None,
            }
        }
    }

    /// The next event that is no heartbeat; none at the end of the stream.
    pub async fn next(&mut self) -> Option<Heard> {
        loop {
            let heard = self.any().await?;
            if heard.name != "heartbeat" {
                return Some(heard);
            }
        }
    }

    /// So many events that are no heartbeats.
    pub async fn take(&mut self, count: usize) -> Vec<Heard> {
        let mut heard = Vec::new();
        while heard.len() < count {
            heard.push(self.next().await.expect("the stream goes on"));
        }
        heard
    }

    /// The name and the lead of each of so many events.
    pub async fn names(&mut self, count: usize) -> Vec<(String, LeadId)> {
        self.take(count).await.into_iter().map(|heard| (heard.name.clone(), heard.lead())).collect()
    }

    /// The stream comes to its end, whatever is still in it.
    pub async fn ends(mut self) {
        let begun = std::time::Instant::now();
        while self.any().await.is_some() {
            assert!(begun.elapsed() < PATIENCE, "the stream ends");
        }
    }
}

fn parse(event: &str) -> Heard {
    let given = |name: &str| {
        let mut values = event.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let value = values.next();
        assert!(values.next().is_none(), "one {name} in {event:?}");
        value
    };
    let field = |name: &str| given(name).unwrap_or_else(|| panic!("no {name} in {event:?}"));
    Heard {
        id: given("id").map_or(0, |id| id.parse().unwrap()),
        name: field("event").to_owned(),
        data: serde_json::from_str(field("data")).unwrap(),
    }
}

/// A unit of work in which a lead left the administrators' queue; answers which.
pub async fn tell(db: &Db) -> LeadId {
    let lead = LeadId::new();
    let mut uow = db.begin(Actor::System).await.unwrap();
    uow.record(Event::LeadUnqueued { lead });
    uow.commit().await.unwrap();
    lead
}

/// Waits until the hub of this application has told everything that is committed.
pub async fn until_quiet(app: &App) {
    let state = || async { live::state(&mut app.cx.db.read().await.unwrap()).await.unwrap() };
    while state().await.unnumbered {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    until_told(app, state().await.last).await;
}

/// Waits until the hub of this application has told everything up to this number.
pub async fn until_told(app: &App, seq: i64) {
    let begun = std::time::Instant::now();
    while app.live.subscribe().await.expect("the hub runs").head < seq {
        assert!(begun.elapsed() < PATIENCE, "{seq} is told");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
