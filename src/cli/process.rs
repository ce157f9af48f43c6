//! What a server asks of the operating system before it starts. Where it refuses, the server runs all the same.

/// Every connection is an open file, and shells and service managers grant 1024 of them unless asked for more.
#[cfg(unix)]
pub(super) fn open_as_many_files_as_allowed() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    let wanted = Rlimit {
        current: maximum,
        maximum,
    };
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => tracing::debug!(?current, ?maximum, "The limit of open files was raised."),
        Err(error) => tracing::debug!(%error, "The limit of open files stays as it is."),
    }
}

/// The allocator asks for pages of 2 MiB, of which a server at rest touches a little each: they tripled its memory and made it
/// no faster.
#[cfg(target_os = "linux")]
pub(super) fn use_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "Memory comes in huge pages.");
    }
}

/// Others have no such pages.
#[cfg(not(target_os = "linux"))]
pub(super) fn use_small_pages() {}

/// Others have no such limit.
#[cfg(not(unix))]
pub(super) fn open_as_many_files_as_allowed() {}
