//! Programs of others that tests talk to where they are installed.

use std::env;
use std::path::PathBuf;

/// Set where a missing peer fails the tests that need it, as in continuous integration.
const REQUIRED: &str = "SLO_COPILOT_REQUIRE_PEERS";

/// A program on the PATH. Without it the test is skipped, which is said aloud; where peers are required it fails.
pub(crate) fn peer(program: &str) -> Option<PathBuf> {
    one_of(&[program])
}

/// The same of a program that distributions give different names.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub(crate) fn one_of(programs: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path);
    let found = folders
        .flat_map(|folder| programs.iter().map(move |program| folder.join(program)))
        .find(|candidate| candidate.is_file());
    if found.is_none() {
        assert!(
            env::var_os(REQUIRED).is_none(),
            "none of {programs:?} is on the PATH, and {REQUIRED} is set"
        );
        eprintln!("SKIPPED: none of {programs:?} is on the PATH");
    }
    found
}
