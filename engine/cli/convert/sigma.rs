//! Sigma's rules and correlation rules, under the mappings that say how its names are those of events.

use sightline_core::rule::{Diagnostic, Source};
use sightline_core::sigma::convert;

use super::{Args, Draft, laid_out};
use crate::cli::exit::CliError;
use crate::cli::paint::Paint;
use crate::cli::rules;
use crate::cli::settings::Global;
use crate::worker::machine::sources;

/// Converts rules that belong together: correlations are among the rules that they refer to.
///
/// # Errors
/// With everything in them that is wrong, or cannot be said in our words.
pub(super) fn convert(global: &Global, args: &Args, mut files: Vec<Source>) -> Result<Draft, CliError> {
    if args.id.is_some() {
        let why = "Sigma's rules have ids of their own, by which correlations know them: leave out --id";
        return Err(CliError::Usage(why.to_owned()));
    }
    let mappings = match args.mapping.is_empty() {
        true => global.load()?.config.sigma.mapping,
        false => args.mapping.clone(),
    };
    let folders = args.files.iter().filter(|path| path.is_dir());
    for path in folders.chain(&mappings) {
        let read = rules::read(std::slice::from_ref(path));
        files.extend(sources(&read.map_err(|error| CliError::Usage(format!("{error:#}")))?));
    }
    let paint = global.colors().stderr;
    let converted =
        convert::convert(&files).map_err(|problems| CliError::Rules(rendered(&problems, &files, paint)))?;
    Ok(Draft { text: laid_out(converted.text), left_out: converted.left_out })
}

fn rendered(problems: &[Diagnostic], files: &[Source], paint: Paint) -> String {
    let each = problems.iter().map(|problem| problem.render(files, paint.diagnostics()));
    each.collect::<Vec<_>>().join("\n\n")
}
