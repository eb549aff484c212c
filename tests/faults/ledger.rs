//! What was promised and what happened, in files that no database fault can touch: each line is synced before it
//! counts.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

pub struct Ledger(Mutex<File>);

impl Ledger {
    pub fn open(dir: &Path, name: &str) -> Self {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(dir.join(format!("{name}.ledger")))
            .expect("the ledger's directory can be written");
        Self(Mutex::new(file))
    }

    pub fn write(&self, line: &str) {
        let mut file = self.0.lock().expect("no writer panics");
        file.write_all(format!("{line}\n").as_bytes()).expect("the ledger takes a line");
        file.sync_data().expect("the ledger can be synced");
    }
}

/// All lines of all ledgers of a scenario.
pub fn read_all(dir: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(dir).expect("the ledgers can be listed") {
        let path = entry.expect("the ledgers can be listed").path();
        if path.extension().is_some_and(|e| e == "ledger") {
            let text = std::fs::read_to_string(&path).expect("a ledger can be read");
            lines.extend(text.lines().map(str::to_owned));
        }
    }
    lines
}
