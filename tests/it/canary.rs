//! Personal data leaks nowhere: a marked person goes through every flow, then everything that was written or said is
//! searched for the marks.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sira::cli::up::{Progress, Up};
use sira::config::Loaded;
use sira::demo;
use sira_sandbox::{LeadWish, SandboxLead};

/// One marked person: values that occur nowhere else.
#[derive(Clone, Copy)]
struct Marked {
    name: &'static str,
    phone: &'static str,
    email: &'static str,
}

const BY_WEBHOOK: Marked =
    Marked { name: "Kanarya Çınlayış", phone: "+905550007391", email: "kanarya.webhook@example.com" };
const BY_HAND: Marked =
    Marked { name: "Serçe Öğütveren", phone: "+905550008264", email: "serce.elden@example.com" };
const UNREACHABLE: Marked =
    Marked { name: "Baykuş Ulaşılmaz", phone: "+90555000", email: "baykus.bozuk(at)example.com" };
const BY_FILE: Marked =
    Marked { name: "Bülbül Sarıgaga", phone: "+905550005173", email: "bulbul.dosya@example.com" };
/// An answer that nobody asked for may be health data.
const ANSWER: &str = "saç ekimi kırlangıç 4417";
/// Who may see the lead may read its notes: they are in answers, without the numbers and addresses that stand in them.
const NOTE: &str = "penisilin alerjisi saksağan 5527";
/// The right number in the place of a wrong one.
const CORRECTED: &str = "+905550006187";

/// Everything that is logged, at a level no production system would use.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no writer panics").extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a mark may look like once it leaked: as it is, as JSON escapes it, digits only, base64 in its three
/// alignments, hex.
fn disguises(mark: &str) -> Vec<Vec<u8>> {
    let bytes = mark.as_bytes();
    let mut forms =
        vec![bytes.to_vec(), hex::encode(bytes).into_bytes(), hex::encode_upper(bytes).into_bytes()];
    let escaped: String = mark
        .chars()
        .map(|c| if c.is_ascii() { c.to_string() } else { format!("\\u{:04x}", u32::from(c)) })
        .collect();
    forms.push(escaped.into_bytes());
    let digits: String = mark.chars().filter(char::is_ascii_digit).collect();
    if digits.len() >= 9 {
        // With the country code, and the national number that stands in every way to write it.
        forms.push(digits.as_bytes()[digits.len() - 9..].to_vec());
        forms.push(hex::encode(&digits[digits.len() - 9..]).into_bytes());
    }
    for shift in 0..3 {
        let mut shifted = vec![0; shift];
        shifted.extend_from_slice(bytes);
        let encoded = STANDARD.encode(&shifted);
        // The first and last characters also hold bits of the neighbours.
        let inner = &encoded.as_bytes()[(shift * 4).div_ceil(3)..encoded.len() - 4];
        forms.push(inner.to_vec());
    }
    forms.retain(|form| form.len() >= 8);
    forms.sort();
    forms.dedup();
    forms
}

fn all_disguises() -> Vec<Vec<u8>> {
    let people = [BY_WEBHOOK, BY_HAND, UNREACHABLE, BY_FILE];
    let marks = people.into_iter().flat_map(|person| [person.name, person.phone, person.email]);
    let marks = marks.chain([ANSWER, CORRECTED]);
    let parts = people.into_iter().flat_map(|person| person.name.split(' '));
    let lower: Vec<String> = people.into_iter().map(|person| person.name.to_lowercase()).collect();
    marks.chain(parts).chain(lower.iter().map(String::as_str)).flat_map(disguises).collect()
}

/// The marks found in these bytes, each with a few bytes around it.
fn search(haystack: &[u8], needles: &[Vec<u8>]) -> Vec<String> {
    let finders = needles.iter().map(|needle| (needle, memchr::memmem::Finder::new(needle)));
    finders
        .filter_map(|(needle, finder)| {
            let at = finder.find(haystack)?;
            let around = &haystack[at.saturating_sub(80)..(at + needle.len() + 40).min(haystack.len())];
            Some(String::from_utf8_lossy(around).into_owned())
        })
        .collect()
}

/// Searches every file below a directory.
fn search_files(directory: &Path, needles: &[Vec<u8>], hits: &mut Vec<String>, searched: &mut u64) {
    for entry in std::fs::read_dir(directory).expect("the directory is readable") {
        let entry = entry.expect("the directory is readable");
        let kind = entry.file_type().expect("the file has a type");
        if kind.is_dir() {
            search_files(&entry.path(), needles, hits, searched);
        } else if kind.is_file() {
            let bytes = std::fs::read(entry.path()).expect("the file is readable");
            *searched += bytes.len() as u64;
            let found = search(&bytes, needles);
            hits.extend(found.into_iter().map(|hit| format!("{}: {hit}", entry.path().display())));
        }
    }
}

/// A client that remembers everything that was answered.
struct Caller {
    client: reqwest::Client,
    base: String,
    token: String,
    answers: Vec<u8>,
}

impl Caller {
    async fn send(&mut self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let answer = request.bearer_auth(&self.token).send().await.expect("the API answers");
        let status = answer.status().as_u16();
        for (name, value) in answer.headers() {
            self.answers.extend_from_slice(name.as_str().as_bytes());
            self.answers.extend_from_slice(value.as_bytes());
        }
        let body = answer.bytes().await.expect("the answer has a body");
        self.answers.extend_from_slice(&body);
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn get(&mut self, path: &str) -> Value {
        let request = self.client.get(format!("{}{path}", self.base));
        let (status, body) = self.send(request).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    async fn create(&mut self, key: &str, lead: &Value) -> (u16, Value) {
        self.post("/leads", key, lead).await
    }

    async fn post(&mut self, path: &str, key: &str, body: &Value) -> (u16, Value) {
        let request =
            self.client.post(format!("{}{path}", self.base)).header("idempotency-key", key).json(body);
        self.send(request).await
    }

    async fn set_status(&mut self, lead: &str, status: &str) {
        let detail = self.get(&format!("/leads/{lead}")).await;
        let request = self
            .client
            .patch(format!("{}/leads/{lead}", self.base))
            .header("if-match", format!("\"{}\"", detail["version"]))
            .json(&json!({ "status": status }));
        let (code, body) = self.send(request).await;
        assert_eq!(code, 200, "{body}");
    }

    /// Everything that was told live, up to the first event of this name.
    async fn hear(&mut self, last: &str) {
        let request = self.client.get(format!("{}/events?lastEventId=0", self.base)).bearer_auth(&self.token);
        let mut stream = request.send().await.expect("the API answers");
        assert_eq!(stream.status(), 200);
        let mut heard = Vec::new();
        while memchr::memmem::find(&heard, last.as_bytes()).is_none() {
            let chunk = tokio::time::timeout(Duration::from_secs(30), stream.chunk()).await;
            let chunk = chunk.expect("it is told").expect("the stream goes on");
            heard.extend_from_slice(&chunk.expect("the stream goes on"));
        }
        self.answers.extend_from_slice(&heard);
    }

    /// Waits until the list has so many owned leads.
    async fn owned(&mut self, count: usize) -> Vec<Value> {
        for _ in 0..600 {
            let page = self.get("/leads").await;
            let leads = page["data"].as_array().cloned().unwrap_or_default();
            if leads.iter().filter(|lead| !lead["owner"].is_null()).count() >= count {
                return leads;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{count} leads were not owned in time");
    }
}

async fn sign_in(client: &reqwest::Client, base: &str, username: &str, data: &Path) -> String {
    let password = demo::password_of(data, username).expect("the demo is seeded");
    let body = json!({ "username": username, "password": password });
    let answer = client.post(format!("{base}/auth/login")).json(&body).send().await.expect("the API answers");
    let answer: Value = answer.json().await.expect("a sign-in is answered in JSON");
    answer["accessToken"].as_str().expect("a token").to_owned()
}

fn marked_lead(up: &Up, person: &Marked) -> SandboxLead {
    let sandbox = up.sandbox.as_ref().expect("the sandbox plays");
    sandbox.new_lead(LeadWish {
        full_name: Some(person.name.to_owned()),
        phone: Some(person.phone.to_owned()),
        email: Some(person.email.to_owned()),
        answers: vec![("hangi_tedavi".to_owned(), ANSWER.to_owned())],
        ..LeadWish::default()
    })
}

/// What an agent and an administrator do with a lead: noted, called, said what came of it, wrong, corrected, told.
async fn work_on(caller: &mut Caller, data: &Path) {
    let admin = caller.token.clone();
    let leads = caller.owned(2).await;
    for lead in &leads {
        let id = lead["id"].as_str().expect("an id");
        let owner = lead["owner"]["name"].as_str().expect("an owner");
        let number = ["Agent One", "Agent Two", "Agent Three"].iter().position(|name| *name == owner);
        let username = format!("agent{}", number.expect("an agent of the demo") + 1);
        caller.token = sign_in(&caller.client, &caller.base, &username, data).await;
        let text = format!("{NOTE}; {} ya da 0{}, {}", BY_HAND.phone, &BY_WEBHOOK.phone[3..], BY_HAND.email);
        let note = caller.post(&format!("/leads/{id}/notes"), "note", &json!({ "note": text })).await;
        assert_eq!(note.0, 201, "{}", note.1);
        let (code, call) = caller.post(&format!("/leads/{id}/call"), "call", &json!({})).await;
        assert!(code == 201 || code == 202, "{call}");
        let call = call["callId"].as_str().expect("an id").to_owned();
        let mut seen = Value::Null;
        for _ in 0..600 {
            seen = caller.get(&format!("/calls/{call}")).await;
            if !seen["endedAt"].is_null() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(!seen["endedAt"].is_null(), "{seen}");
        let outcome = json!({ "disposition": "technical", "note": text });
        let (code, body) = caller.post(&format!("/calls/{call}/outcome"), "outcome", &outcome).await;
        assert_eq!(code, 201, "{body}");
        caller.set_status(id, "wrong_number").await;
        caller.token.clone_from(&admin);
        caller.get(&format!("/calls/{call}/exchanges")).await;
        for list in ["timeline", "timeline?filter[type]=note"] {
            let timeline = caller.get(&format!("/leads/{id}/{list}")).await;
            assert!(timeline.to_string().contains(NOTE), "{timeline}");
        }
    }
    caller.hear("callSession.status").await;
    caller.get("/me/notifications").await;
    let id = leads[0]["id"].as_str().expect("an id");
    let (code, body) =
        caller.post(&format!("/leads/{id}/contacts"), "right", &json!({ "phone": CORRECTED })).await;
    assert_eq!(code, 201, "{body}");
    caller.owned(1).await;
}

/// A file with a marked person, and with one whom nobody can reach.
async fn import_file(caller: &mut Caller) {
    let (code, created) = caller.post("/imports", "file", &json!({ "fileName": "leads.csv" })).await;
    assert_eq!(code, 201, "{created}");
    let id = created["id"].as_str().expect("an id").to_owned();
    let row = |person: &Marked| format!("{};{};{};{ANSWER}\n", person.name, person.phone, person.email);
    let text = format!("ad soyad;telefon;e-posta;hangi tedavi\n{}{}", row(&BY_FILE), row(&UNREACHABLE));
    let request = caller.client.put(format!("{}/imports/{id}/file", caller.base)).body(text);
    let (code, checked) = caller.send(request).await;
    assert_eq!(code, 200, "{checked}");
    let (code, begun) = caller.post(&format!("/imports/{id}/start"), "start", &json!({})).await;
    assert_eq!(code, 202, "{begun}");
    let mut operation = Value::Null;
    for _ in 0..600 {
        operation = caller.get(&format!("/operations/{id}")).await;
        if operation["done"] == true {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let result = &operation["result"];
    assert_eq!((&result["created"], &result["bad"]), (&json!(1), &json!(1)), "{operation}");
    for path in ["/imports".to_owned(), format!("/imports/{id}"), format!("/imports/{id}/errors")] {
        caller.get(&path).await;
    }
}

/// Every flow that exists: webhook, redelivery, quarantine, by hand, joined, refused, listed, shown, changed, heard,
/// worked on, by the file.
async fn go_through_everything(up: &Up, caller: &mut Caller, data: &Path) {
    let sandbox = up.sandbox.as_ref().expect("the sandbox plays");
    let announced = [marked_lead(up, &BY_WEBHOOK)];
    assert_eq!(sandbox.deliver(&announced).await.expect("delivered"), 200);
    assert_eq!(sandbox.deliver(&announced).await.expect("delivered"), 200);
    caller.owned(1).await;

    let unreachable = [marked_lead(up, &UNREACHABLE)];
    assert_eq!(sandbox.deliver(&unreachable).await.expect("delivered"), 200);

    let by_hand = json!({ "name": BY_HAND.name, "phone": BY_HAND.phone, "email": BY_HAND.email });
    assert_eq!(caller.create("one", &by_hand).await.0, 201);
    assert_eq!(caller.create("one", &by_hand).await.0, 201, "replayed");
    assert!(caller.create("two", &by_hand).await.0 < 300, "joined");
    let wrong = json!({ "name": UNREACHABLE.name, "phone": UNREACHABLE.phone, "email": UNREACHABLE.email });
    assert_eq!(caller.create("three", &wrong).await.0, 422, "refused");

    let leads = caller.owned(2).await;
    for lead in &leads {
        let id = lead["id"].as_str().expect("an id");
        caller.set_status(id, "interested").await;
    }
    caller.hear("lead.statusChanged").await;
    work_on(caller, data).await;
    for _ in 0..600 {
        let quarantined = caller.get("/ops/quarantine").await;
        if quarantined["data"].as_array().is_some_and(|rows| rows.len() == 1) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let quarantined = caller.get("/ops/quarantine").await;
    assert_eq!(quarantined["data"].as_array().map(Vec::len), Some(1), "{quarantined}");
    import_file(caller).await;
    for list in ["/ops/jobs", "/ops/workflows"] {
        let page = caller.get(list).await;
        for row in page["data"].as_array().expect("a list") {
            caller.get(&format!("{list}/{}", row["id"])).await;
        }
    }
    let metrics = caller.client.get(caller.base.replace("/api/v1", "/metrics"));
    assert_eq!(caller.send(metrics).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marked_person_is_found_nowhere_in_clear() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_env_filter("debug,sira=trace,sira_engine=trace,sira_domain=trace,sira_jobs=trace")
        .with_writer(move || writer.clone())
        .try_init()
        .expect("the first subscriber of this process: tests that log run alone");
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut config = Loaded::load(None, &[]).expect("the defaults are valid").config;
    config.data.dir = home.path().join("data");
    config.http.listen.set_port(0);
    config.sandbox.enabled = true;
    let up = Up::start(config, &mut Progress::begin()).await.expect("everything starts");
    let base = format!("http://{}/api/v1", up.address);
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let data = home.path().join("data");
    let token = sign_in(&client, &base, "admin", &data).await;
    let mut caller = Caller { client, base, token, answers: Vec::new() };

    go_through_everything(&up, &mut caller, &data).await;

    let state = up.state_dir().expect("a private PostgreSQL");
    let pool = up.pool().clone();
    // Everything to disk; then a row that must be found, so that a blind search would be noticed.
    sqlx::raw_sql(
        "create table planted (mark text); insert into planted values ('planted 905550009999'); checkpoint",
    )
    .execute(&pool)
    .await
    .expect("the database answers");
    drop(pool);
    up.finish().await.expect("everything stops in order");

    let of_people = all_disguises();
    let needles = [of_people.clone(), disguises(NOTE)].concat();
    assert!(needles.len() > 50, "{}", needles.len());
    let (mut hits, mut searched) = (Vec::new(), 0);
    search_files(&state, &needles, &mut hits, &mut searched);
    search_files(&data, &needles, &mut hits, &mut searched);
    assert!(searched > 20_000_000, "only {searched} bytes of database and WAL were searched");
    let logged = log.0.lock().expect("no writer panics").clone();
    assert!(logged.len() > 10_000, "only {} bytes were logged", logged.len());
    hits.extend(search(&logged, &needles).into_iter().map(|hit| format!("log: {hit}")));
    hits.extend(search(&caller.answers, &of_people).into_iter().map(|hit| format!("answer: {hit}")));
    assert!(caller.answers.len() > 1_000, "answers were kept");
    assert!(hits.is_empty(), "{} leaks:\n{}", hits.len(), hits.join("\n"));

    let mut control = Vec::new();
    search_files(&state, &disguises("planted 905550009999"), &mut control, &mut 0);
    assert!(!control.is_empty(), "the search finds what is there");
    let _ = std::fs::remove_dir_all(&state);
}

#[test]
fn every_disguise_of_a_phone_is_known() {
    let needles = disguises("+905550007391");
    let leaks = [
        "tel +905550007391".to_owned(),
        "0555 000 73 91 is 05550007391".to_owned(),
        STANDARD.encode("x+905550007391y"),
        STANDARD.encode("xy+905550007391"),
        hex::encode("call +905550007391 now"),
        hex::encode_upper("+905550007391"),
    ];
    for leak in leaks {
        assert!(!search(leak.as_bytes(), &needles).is_empty(), "{leak}");
    }
    assert!(search(b"+90*** ** 91", &needles).is_empty());
}
