//! A client of live updates that reads the very bytes, so that it costs next to nothing.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// A stream whose `hello` has been read.
pub async fn listen(address: SocketAddr, token: &str) -> anyhow::Result<BufReader<TcpStream>> {
    let mut stream = TcpStream::connect(address).await?;
    let request =
        format!("GET /api/v1/events HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        if line.starts_with("data: ") {
            return Ok(stream);
        }
        line.clear();
    }
    bail!("no stream was opened")
}

/// The access token of the admin with this password.
pub async fn sign_in(address: SocketAddr, password: &str) -> anyhow::Result<String> {
    let body = serde_json::json!({ "username": "admin", "password": password }).to_string();
    let request = format!(
        "POST /api/v1/auth/login HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (_, body) = answer.split_once("\r\n\r\n").context("an answer with a body")?;
    let body: serde_json::Value = serde_json::from_str(body)?;
    Ok(body["accessToken"].as_str().context("signed in")?.to_owned())
}
