//! The accept loop, over real connections.

use std::net::SocketAddr;
use std::time::Duration;

use sira::http::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::app::TestApp;

/// How long a test waits for what must come; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

#[expect(clippy::disallowed_methods, reason = "each test awaits the end of its server")]
async fn start(app: &TestApp, settings: Settings) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (router, stop) = (app.router.clone(), CancellationToken::new());
    let stopped = stop.clone();
    let serving = tokio::spawn(async move { sira::http::serve(listener, router, &settings, stopped).await });
    (address, stop, serving)
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server closes");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_request_is_answered_and_the_peer_is_known() {
    let app = TestApp::with(|settings| settings.trust_loopback = true).await;
    let (address, stop, serving) = start(&app, Settings::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /version HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "trusted local peers may read the version: {answer}");
    stop.cancel();
    tokio::time::timeout(PATIENCE, serving).await.expect("it stops").unwrap();
}

#[tokio::test]
async fn a_client_that_never_ends_its_header_is_let_go() {
    let app = TestApp::new().await;
    let settings = Settings { header_timeout: Duration::from_millis(200), ..Settings::default() };
    let (address, stop, serving) = start(&app, settings).await;
    for sent in ["", "GET /livez HTTP/1.1\r\nhost: x\r\nx-slow: "] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let answer = read_all(&mut stream).await;
        assert!(!answer.contains("200") && !answer.contains("204"), "{answer}");
    }
    stop.cancel();
    tokio::time::timeout(PATIENCE, serving).await.expect("it stops").unwrap();
}

#[tokio::test]
async fn a_client_beyond_the_limit_waits_for_a_place() {
    let app = TestApp::new().await;
    let settings = Settings { connections_max: 1, ..Settings::default() };
    let (address, stop, serving) = start(&app, settings).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut seen = [0; 12];
    first.read_exact(&mut seen).await.unwrap();
    assert_eq!(&seen, b"HTTP/1.1 204");
    let mut second = TcpStream::connect(address).await.unwrap();
    second.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut byte = [0; 1];
    let early = tokio::time::timeout(Duration::from_millis(200), second.read(&mut byte)).await;
    assert!(early.is_err(), "there was no place");
    drop(first);
    assert!(read_all(&mut second).await.starts_with("HTTP/1.1 204"));
    stop.cancel();
    tokio::time::timeout(PATIENCE, serving).await.expect("it stops").unwrap();
}
