//! `sira config`: what is in force.

use clap::Subcommand;

use super::{Exit, print};
use crate::config::Loaded;

/// What to do with the settings.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print every setting in force, as TOML; secrets are redacted
    Show {
        /// Say where each value comes from
        #[arg(long)]
        origin: bool,
    },
}

/// Prints.
pub fn run(loaded: &Loaded, command: &Command) -> anyhow::Result<Exit> {
    let Command::Show { origin } = command;
    print(&show(loaded, *origin))?;
    Ok(Exit::Ok)
}

fn show(loaded: &Loaded, with_origin: bool) -> String {
    let mut lines = Vec::new();
    let mut section = String::new();
    for shown in loaded.show() {
        let (of, key) = shown.key.split_once('.').expect("section.key");
        if of != section {
            lines.push(format!("{}[{of}]", if section.is_empty() { "" } else { "\n" }));
            of.clone_into(&mut section);
        }
        let setting = format!("{key} = {}", shown.value);
        lines.push(if with_origin { format!("{setting:<48} # {}", shown.origin) } else { setting });
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_a_configuration_again() {
        let variables = [("SIRA__HTTP__LISTEN".to_owned(), "127.0.0.1:0".to_owned())];
        let shown = show(&Loaded::load(None, &variables).expect("valid"), true);
        let table: toml::Table = shown.parse().expect("TOML");
        assert_eq!(table["http"]["listen"].as_str(), Some("127.0.0.1:0"));
        assert!(shown.contains("# environment SIRA__HTTP__LISTEN"));
    }
}
