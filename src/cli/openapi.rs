//! `sira openapi`: the API's document, as checked in at `docs/openapi.json`.

use std::io::Write;

use crate::http;

/// Writes the document of the API mounted at this base path, indented, with a final line break.
pub fn run(out: &mut impl Write, base_path: &str) -> anyhow::Result<()> {
    let document = http::openapi(base_path)?;
    writeln!(out, "{}", document.to_pretty_json()?)?;
    Ok(())
}
