//! `sightline schema`: the JSON Schema of rule files, for editors.

use std::io::Write;

use sightline_core::rule::schema::schema;

use crate::cli::exit::{CliError, Exit};

/// Prints the schema.
///
/// # Errors
/// When standard output is closed.
pub fn run() -> Result<Exit, CliError> {
    let text = serde_json::to_string_pretty(&schema()).expect("a schema is plain data");
    writeln!(std::io::stdout(), "{text}")?;
    Ok(Exit::Done)
}
