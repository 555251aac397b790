//! How results are printed.

use serde::Serialize;

/// Format of what a verb answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Tree,
    Json,
    Yaml,
}

/// Prints a value for programs.
pub(super) fn print(format: Format, value: &impl Serialize) -> anyhow::Result<()> {
    let text = match format {
        Format::Yaml => serde_yaml_ng::to_string(value)?,
        Format::Json | Format::Tree => serde_json::to_string_pretty(value)? + "\n",
    };
    line(&text);
    Ok(())
}

/// Writes to standard output; a reader that went away ends the output quietly, as `head` expects.
pub(super) fn line(text: &str) {
    use std::io::Write;
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
