//! The command line: one file per command.
//!
//! [`main`] reads the arguments, [`settings`] makes a configuration of them, and the command's file does the rest. Data
//! goes to stdout, words to stderr. [`exit`] has the four exit codes. What people read is written by [`paint`]
//! (colours), [`cell`] (text that is safe on a terminal), [`timeline`] (an incident) and [`truth`] (found against
//! expected).

pub mod backtest;
pub mod check;
pub mod config;
pub mod convert;
pub mod demo;
pub mod exit;
pub mod explain;
pub mod fmt;
pub mod incident;
pub mod man;
pub mod nats_keys;
pub mod new;
pub mod rules;
pub mod rules_log;
pub mod run;
pub mod schema;
pub mod settings;
pub mod state;
pub mod stream;
pub mod tail;
pub mod test;
pub mod timeline;
pub mod top;
pub mod truth;

mod bus;
mod cell;
mod cost;
mod http;
mod input;
mod paint;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use exit::{CliError, Exit};
use settings::Global;

/// Stack of every thread that works, as the first one has it. Reading rules as deep as they may be takes 2 MiB where nothing
/// is optimised, and that is all that a thread gets otherwise.
const STACK_BYTES: usize = 8 << 20;

/// Streaming correlation of security events on NATS JetStream.
#[derive(Debug, Parser)]
#[command(name = "sightline", version, arg_required_else_help = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done, 1 found something wrong, 2 wrong rules, 3 wrong configuration or usage."
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the worker: events in, incidents out, until it is told to stop
    Run,
    /// Check rule files, and say everything that is wrong with them at once
    Check(check::Args),
    /// Run the tests that stand in rules and beside them
    Test(test::Args),
    /// Print a rule to begin with, and its tests
    New(new::Args),
    /// Lay out rule files, with the same meaning
    Fmt(fmt::Args),
    /// Print the JSON Schema of rule files, for editors
    Schema,
    /// Print rules of others (Sigma, EQL, Panther) in our words, and say what could not be carried over
    Convert(convert::Args),
    /// Run event files through rules with the same engine, and no server
    Backtest(backtest::Args),
    /// Say why an incident is there, or why a rule did not fire
    Explain(explain::Args),
    /// Follow incidents on the bus
    Tail(tail::Args),
    /// Show what a running worker holds
    State(state::Args),
    /// Show what a running worker is busy with: its costliest rules, again and again
    Top(top::Args),
    /// Show settings, where they come from, and what is wrong with them
    Config(config::Args),
    /// Put rules into the log, and tell which are in force
    Rules(rules_log::Args),
    /// Create the streams
    Stream(stream::Args),
    /// Make an nkey for each role that the server's configuration names
    NatsKeys(nats_keys::Args),
    /// Change incidents
    Incident(incident::Args),
    /// Replay two recorded intrusions through a real server, and compare what is found with what is known
    Demo(demo::Args),
    /// Print completions for a shell
    Completions(man::CompletionArgs),
    /// Print the man page, or write all of them into a folder
    Man(man::Args),
}

/// Reads the arguments, the first of which is the program's name, and carries out the command.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout and are what was asked for. A pipe that is closed is nobody's fault.
            let _ = error.print();
            return if error.use_stderr() { Exit::WrongUsage } else { Exit::Done }.into();
        }
    };
    let colors = cli.global.colors();
    match carry_out(cli) {
        Ok(exit) => exit.into(),
        Err(error) => error.tell(colors.stderr).into(),
    }
}

fn carry_out(cli: Cli) -> Result<Exit, CliError> {
    let global = &cli.global;
    match cli.command {
        Command::Run => block_on(run::run(global)),
        Command::Check(args) => block_on(check::run(global, &args)),
        Command::Test(args) => block_on(test::run(global, &args)),
        Command::New(args) => new::run(&args),
        Command::Fmt(args) => fmt::run(global, &args),
        Command::Schema => schema::run(),
        Command::Convert(args) => convert::run(global, &args),
        Command::Backtest(args) => block_on(backtest::command(global, &args)),
        Command::Explain(args) => block_on(explain::run(global, &args)),
        Command::Tail(args) => block_on(tail::run(global, &args)),
        Command::State(args) => block_on(state::run(global, &args)),
        Command::Top(args) => block_on(top::run(global, &args)),
        Command::Config(args) => config::run(global, &args),
        Command::Rules(args) => block_on(rules_log::run(global, &args)),
        Command::Stream(args) => block_on(stream::run(global, &args)),
        Command::NatsKeys(args) => nats_keys::run(&args),
        Command::Incident(args) => block_on(incident::run(global, &args)),
        Command::Demo(args) => block_on(demo::run(global, &args)),
        Command::Completions(args) => man::completions(Cli::command(), &args),
        Command::Man(args) => man::pages(Cli::command(), &args),
    }
}

fn block_on(command: impl Future<Output = Result<Exit, CliError>>) -> Result<Exit, CliError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES).build()?;
    runtime.block_on(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }
}
