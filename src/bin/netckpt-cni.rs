//! The chained CNI plugin: a thin client of the agent's socket (see [`netckpt::gate`]).

use std::io::{Write, stdin, stdout};
use std::process::ExitCode;

use netckpt::gate::{cni::Environment, plugin};

fn main() -> ExitCode {
    let environment = Environment::read(|name| std::env::var(name).ok());
    let outcome = plugin::run(&environment, stdin().lock());
    if let Some(output) = outcome.output
        && writeln!(stdout().lock(), "{output}").is_err()
    {
        // The runtime that asked is gone; nobody is left to tell.
        return ExitCode::FAILURE;
    }
    ExitCode::from(outcome.status)
}
