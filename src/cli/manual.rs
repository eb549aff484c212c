//! `sira completions` and `sira man`: what shells and `man` read, made of the command line itself, so that it cannot say
//! anything else. Neither reads the configuration.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Exit, print, say};

/// What can be made of the command line.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print a shell's completions of this command line
    Completions(CompletionsArgs),
    /// Print the manual page, or write one for each command
    Man(ManArgs),
}

/// For which shell.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Whose form
    shell: KnownShell,
}

/// A shell that completes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KnownShell {
    /// sira completions bash > /etc/bash_completion.d/sira
    Bash,
    /// sira completions zsh > /usr/local/share/zsh/site-functions/_sira
    Zsh,
    /// sira completions fish > ~/.config/fish/completions/sira.fish
    Fish,
}

/// Where to.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write a page for each command into this directory, made when there is none; else the main page goes to stdout
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Runs one of them.
pub fn run(line: clap::Command, command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::Completions(args) => completions(line, args),
        Command::Man(args) => man(line, args),
    }
}

fn completions(mut line: clap::Command, args: &CompletionsArgs) -> anyhow::Result<Exit> {
    let shell = match args.shell {
        KnownShell::Bash => Shell::Bash,
        KnownShell::Zsh => Shell::Zsh,
        KnownShell::Fish => Shell::Fish,
    };
    let name = line.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut line, name, &mut script);
    print(String::from_utf8(script)?.trim_end())?;
    Ok(Exit::Ok)
}

/// Prints the main page, or writes all of them.
fn man(line: clap::Command, args: &ManArgs) -> anyhow::Result<Exit> {
    let Some(dir) = &args.dir else {
        let mut page = Vec::new();
        Man::new(line).render(&mut page)?;
        print(String::from_utf8(page)?.trim_end())?;
        return Ok(Exit::Ok);
    };
    let place = || format!("writing manual pages to {}", dir.display());
    std::fs::create_dir_all(dir).with_context(place)?;
    clap_mangen::generate_to(line, dir).with_context(place)?;
    say(&format!("manual pages: man -l {}", dir.join("sira.1").display()));
    Ok(Exit::Ok)
}
