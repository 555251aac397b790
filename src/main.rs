//! The command `netckpt`.

use std::process::ExitCode;

fn main() -> ExitCode {
    netckpt::cli::run()
}
