//! Claims about `sira watch`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::house::House;

/// Killed with its handle.
struct Watching(Child);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The first line of which this holds, on a thread of its own.
fn find(mut lines: impl Iterator<Item = String>, holds: impl Fn(&str) -> bool) -> String {
    lines.find(|line| holds(line)).expect("it goes on")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_is_printed_as_it_changes() {
    let house = House::new().await;
    let _running = house.work().await;
    let start = |output: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sira"));
        command.args(["watch", "-o", output]).env("SIRA__DATA__DIR", &house.config.data.dir);
        command.env("SIRA__DATABASE__URL", house.db.url()).env("SIRA__LOG__FILTER", "warn");
        let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        (Watching(child), lines)
    };
    let (_text, mut text) = start("text");
    let (_json, mut json) = start("json");
    tokio::task::block_in_place(|| {
        find(&mut text, |line| line.contains("queue     name=calls  ready=0"));
        find(&mut text, |line| line.contains("schedule  name=operations.trim_history"));
        find(&mut json, |line| line.contains("\"topic\":\"worker\""));
        house.sira(&["queues", "pause", "calls", "--reason", "a test"]);
        find(&mut text, |line| line.contains("name=calls") && line.ends_with("paused=a test"));
        let line = find(&mut json, |line| line.contains("a test"));
        let change: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&change["topic"], &change["key"]), (&Value::from("queue"), &Value::from("calls")));
        assert_eq!(change["is"]["paused_reason"], "a test");
    });
}
