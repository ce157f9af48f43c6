//! Programs of others that tests talk to where they are installed.

use std::env;
use std::path::PathBuf;

/// Set where a missing peer fails the tests that need it, as in continuous integration.
const REQUIRED: &str = "SLO_COPILOT_REQUIRE_PEERS";

/// A program on the PATH. Without it the test is skipped, which is said aloud; where peers are required it fails.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub(crate) fn peer(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file());
    if found.is_none() {
        assert!(
            env::var_os(REQUIRED).is_none(),
            "{program} is not on the PATH, and {REQUIRED} is set"
        );
        eprintln!("SKIPPED: {program} is not on the PATH");
    }
    found
}
