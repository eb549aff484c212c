//! Between a worker and the database: falls silent when it is told to, as a network that drops every packet without a word.
//! What was sent meanwhile arrives afterwards, as by retransmission.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Bytes that are carried at a time.
const CHUNK: usize = 16 << 10;

pub struct Proxy {
    dir: PathBuf,
    silent: watch::Sender<bool>,
    _carriers: JoinSet<()>,
}

impl Proxy {
    /// Listens in this directory.
    pub fn start(dir: &Path, target: PgConnectOptions) -> Self {
        let path = dir.join(format!(".s.PGSQL.{}", target.get_port()));
        let listener = UnixListener::bind(path).expect("the scenario's directory can be written");
        let (silent, hears) = watch::channel(false);
        let mut carriers = JoinSet::new();
        carriers.spawn(accept(listener, Arc::new(target), hears));
        Self { dir: dir.to_owned(), silent, _carriers: carriers }
    }

    /// The same database through here.
    pub fn url(&self, target: PgConnectOptions) -> String {
        use sqlx::ConnectOptions;
        target.socket(&self.dir).to_url_lossy().to_string()
    }

    pub fn fall_silent(&self, silent: bool) {
        self.silent.send_replace(silent);
    }
}

async fn accept(listener: UnixListener, target: Arc<PgConnectOptions>, silent: watch::Receiver<bool>) {
    let mut carried = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let (target, silent) = (target.clone(), silent.clone());
        carried.spawn(async move {
            match target.get_socket() {
                Some(dir) => {
                    let path = dir.join(format!(".s.PGSQL.{}", target.get_port()));
                    if let Ok(far) = UnixStream::connect(path).await {
                        carry(near, far, silent).await;
                    }
                }
                None => {
                    if let Ok(far) = TcpStream::connect((target.get_host(), target.get_port())).await {
                        carry(near, far, silent).await;
                    }
                }
            }
        });
    }
}

/// Until one side ends, and is heard to.
async fn carry(near: UnixStream, far: impl AsyncRead + AsyncWrite, silent: watch::Receiver<bool>) {
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = tokio::io::split(far);
    tokio::select! {
        () = pump(near_in, far_out, silent.clone()) => {}
        () = pump(far_in, near_out, silent.clone()) => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut silent: watch::Receiver<bool>,
) {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk).await;
        if silent.wait_for(|silent| !silent).await.is_err() {
            return;
        }
        let Ok(read @ 1..) = read else { return };
        if to.write_all(&chunk[..read]).await.is_err() {
            return;
        }
    }
}
