//! Arguments → command → exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use slo_copilot::cli::{Cli, run};

/// Request bodies are freed on other threads than they were allocated on, where glibc's arenas contend.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    run(Cli::parse()).unwrap_or_else(|failure| {
        // Nobody is left to tell if standard error is closed.
        drop(writeln!(std::io::stderr(), "error: {failure}"));
        failure.exit_code()
    })
}
