//! This host: who listens, and how many connections lead there, from `/proc`. Linux only.

use std::collections::BTreeSet;

/// Listening processes that are looked at; more are counted.
const LISTENERS_MAX: usize = 1_000;

/// Programs that belong to the machine and serve no requests of users.
const OF_THE_SYSTEM: [&str; 24] = [
    "systemd",
    "systemd-resolve",
    "systemd-resolved",
    "systemd-network",
    "sshd",
    "chronyd",
    "ntpd",
    "dnsmasq",
    "named",
    "unbound",
    "cupsd",
    "rpcbind",
    "rpc.statd",
    "master",
    "exim4",
    "dockerd",
    "docker-proxy",
    "containerd",
    "kubelet",
    "kube-proxy",
    "avahi-daemon",
    "otelcol",
    "obi",
    "beyla",
];

/// Why the host cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// There is no `/proc` of Linux.
    #[error(
        "listening sockets are read from /proc, which only Linux has; leave out --host and adapters.coverage.host_peers here"
    )]
    NotLinux,
    /// It cannot be read.
    #[error("cannot read the sockets of this host: {0}")]
    Proc(String),
}

/// A process that listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listener {
    /// Its id.
    pub pid: u32,
    /// Its name, for example `python3`.
    pub name: String,
    /// Path of its executable, if it may be read.
    pub executable: Option<String>,
    /// Its TCP ports.
    pub ports: BTreeSet<u16>,
    /// Connections that lead to them now.
    pub connections: u64,
    /// Processes of this host, and addresses of others, that these connections come from.
    pub callers: BTreeSet<String>,
}

impl Listener {
    /// Whether it belongs to the machine.
    pub fn is_of_the_system(&self) -> bool {
        OF_THE_SYSTEM.contains(&self.name.as_str())
    }
}

/// What listens here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostView {
    /// Processes that listen on TCP, by their id; this process is left out.
    pub listeners: Vec<Listener>,
    /// Ports of which the process may not be seen: another user's.
    pub unknown_ports: BTreeSet<u16>,
    /// Processes over the bound.
    pub omitted: u64,
}

/// Looks at this host.
#[cfg(not(target_os = "linux"))]
pub fn observe() -> Result<HostView, HostError> {
    Err(HostError::NotLinux)
}

/// Looks at this host.
#[cfg(target_os = "linux")]
pub fn observe() -> Result<HostView, HostError> {
    linux::observe().map_err(|error| HostError::Proc(error.to_string()))
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::{BTreeMap, HashMap};

    use procfs::ProcResult;
    use procfs::net::{TcpNetEntry, TcpState};
    use procfs::process::{FDTarget, Process, all_processes};

    use super::{HostView, LISTENERS_MAX, Listener};

    pub(super) fn observe() -> ProcResult<HostView> {
        let mut sockets = procfs::net::tcp()?;
        // A kernel without IPv6 has no such file.
        sockets.extend(procfs::net::tcp6().unwrap_or_default());
        let owners = owners();
        let is_listening = |socket: &&TcpNetEntry| socket.state == TcpState::Listen;
        let mut view = HostView::default();
        let mut listeners: BTreeMap<i32, Listener> = BTreeMap::new();
        for socket in sockets.iter().filter(is_listening) {
            let port = socket.local_address.port();
            let Some(owner) = owners.get(&socket.inode) else {
                view.unknown_ports.insert(port);
                continue;
            };
            let own = u32::try_from(owner.pid).unwrap_or_default();
            if own == std::process::id() {
                continue;
            }
            if listeners.len() >= LISTENERS_MAX && !listeners.contains_key(&owner.pid) {
                view.omitted += 1;
                continue;
            }
            let listener = listeners.entry(owner.pid).or_insert_with(|| Listener {
                pid: own,
                name: owner.name.clone(),
                executable: owner.executable.clone(),
                ..Listener::default()
            });
            listener.ports.insert(port);
        }
        let by_local: HashMap<_, &Owner> = sockets
            .iter()
            .filter_map(|socket| Some((socket.local_address, owners.get(&socket.inode)?)))
            .collect();
        let is_established = |socket: &&TcpNetEntry| socket.state == TcpState::Established;
        for socket in sockets.iter().filter(is_established) {
            let Some(owner) = owners.get(&socket.inode) else {
                continue;
            };
            let port = socket.local_address.port();
            // Its own port at the near end: somebody called it.
            let listener = listeners.get_mut(&owner.pid);
            if let Some(listener) = listener.filter(|listener| listener.ports.contains(&port)) {
                listener.connections += 1;
                let caller = match by_local.get(&socket.remote_address) {
                    Some(caller) => format!("{} (pid {})", caller.name, caller.pid),
                    None => socket.remote_address.ip().to_string(),
                };
                listener.callers.insert(caller);
            }
        }
        view.listeners = listeners.into_values().collect();
        Ok(view)
    }

    #[derive(Clone)]
    struct Owner {
        pid: i32,
        name: String,
        executable: Option<String>,
    }

    /// The process of each socket, as far as it may be read. Of a socket that several have, the first process: the parent.
    fn owners() -> HashMap<u64, Owner> {
        let mut owners = HashMap::new();
        let Ok(processes) = all_processes() else {
            return owners;
        };
        let mut processes: Vec<Process> = processes.flatten().collect();
        processes.sort_by_key(Process::pid);
        for process in processes {
            // A process may end while it is looked at, or be another user's.
            let (Ok(files), Ok(stat)) = (process.fd(), process.stat()) else {
                continue;
            };
            let owner = Owner {
                pid: stat.pid,
                name: stat.comm,
                executable: process
                    .exe()
                    .ok()
                    .map(|path| path.to_string_lossy().into_owned()),
            };
            for file in files.flatten() {
                if let FDTarget::Socket(inode) = file.target {
                    owners.entry(inode).or_insert_with(|| owner.clone());
                }
            }
        }
        owners
    }
}
