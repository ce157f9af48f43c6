//! The gaps by what they hide, and the configuration of probes that would see them.
//!
//! A gap is worth the calls that it hides; the number of its callers decides between equals.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::adapter::coverage::edges::DarkPeer;
use crate::adapter::coverage::findings::list;
use crate::adapter::coverage::host::{HostView, Listener};
use crate::adapter::coverage::peer::host_in;
use crate::adapter::coverage::workloads;
use crate::adapter::kubernetes::Workload;
use crate::model::coverage::{Probe, ProbeKind, WorkloadName};
use crate::model::one_line;

/// All gaps, the most valuable first.
pub fn rank(
    dark: &[DarkPeer<'_>],
    signals: Vec<Probe>,
    unseen: &[&Workload],
    silent: &[&Listener],
    host: Option<&HostView>,
) -> Vec<Probe> {
    let called: Vec<WorkloadName> = dark
        .iter()
        .filter_map(|peer| peer.workload.map(workloads::name))
        .collect();
    let uncalled = unseen
        .iter()
        .filter(|workload| !called.contains(&workloads::name(workload)));
    let mut probes: Vec<Probe> = dark
        .iter()
        .map(|peer| of_peer(peer, host))
        .chain(signals)
        .chain(silent.iter().map(|listener| of_listener(listener)))
        .chain(uncalled.map(|workload| of_workload(workload)))
        .collect();
    // Stable: what was named first stays first among equals.
    probes.sort_by(|a, b| {
        let by_value = b.value.total_cmp(&a.value);
        by_value
            .then_with(|| b.callers.cmp(&a.callers))
            .then_with(|| a.kind.cmp(&b.kind))
    });
    probes
}

fn of_peer(peer: &DarkPeer<'_>, host: Option<&HostView>) -> Probe {
    let local = host.and_then(|host| behind(peer, host));
    let callers = peer.callers.len() as u64;
    Probe {
        target: peer.name.clone(),
        kind: ProbeKind::Peer,
        value: peer.weight,
        callers,
        reason: format!("calls that end there: {}; callers: {callers}", peer.calls),
        // What callers call may be the port of a Service before it.
        port: peer.workload.and_then(workloads::port).or(peer.port),
        protocol: peer.protocol.clone(),
        pid: local.map(|listener| listener.pid),
        executable: local.and_then(|listener| listener.executable.clone()),
        workload: peer.workload.map(workloads::name),
    }
}

/// The process of this host behind a peer: the only one that listens on its port, where the peer is this host.
pub fn behind<'a>(peer: &DarkPeer<'_>, host: &'a HostView) -> Option<&'a Listener> {
    let port = peer.port?;
    let name = host_in(&peer.name).name;
    let is_here = name == "localhost"
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback());
    let listeners = host.listeners.iter();
    let mut all = listeners.filter(|one| one.ports.contains(&port));
    let only = all.next().filter(|_| is_here);
    only.filter(|_| all.next().is_none())
}

fn of_listener(listener: &Listener) -> Probe {
    Probe {
        target: format!("{} (pid {})", listener.name, listener.pid),
        kind: ProbeKind::Process,
        value: listener.connections as f64,
        callers: listener.callers.len() as u64,
        reason: format!(
            "it listens on port {} with {} connections",
            list(&listener.ports),
            listener.connections
        ),
        port: listener.ports.first().copied(),
        protocol: None,
        pid: Some(listener.pid),
        executable: listener.executable.clone(),
        workload: None,
    }
}

fn of_workload(workload: &Workload) -> Probe {
    Probe {
        target: workload.to_string(),
        kind: ProbeKind::Workload,
        value: 0.0,
        callers: 0,
        reason: "it stands in the manifests, and nothing that reports spans calls it".to_owned(),
        port: workloads::port(workload),
        protocol: None,
        pid: None,
        executable: None,
        workload: Some(workloads::name(workload)),
    }
}

/// A file of the probe plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeFile {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub text: String,
}

/// The files that make the gaps visible: OBI and Beyla, which take the same selectors, and a script for bpftrace. None where no
/// gap can be told from other processes. Spans go to `endpoint`.
pub fn files(probes: &[Probe], endpoint: &str) -> Vec<ProbeFile> {
    let selectable: Vec<(&Probe, Value)> = probes
        .iter()
        .filter_map(|probe| Some((probe, selector(probe)?)))
        .collect();
    if selectable.is_empty() {
        return Vec::new();
    }
    let obi = "# OpenTelemetry eBPF Instrumentation, configuration version 1 (`obi config migrate` makes version 2 of it):\n\
               #   obi --config=obi-config.yaml\n\
               # It needs Linux 5.8 with BTF, and root or CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE and more. What reports spans already is\n\
               # left out by OBI itself (exclude_otel_instrumented_services).\n";
    let beyla = "# Grafana Beyla 3:\n#   beyla -config beyla-config.yaml\n";
    vec![
        ProbeFile {
            name: "obi-config.yaml",
            text: configuration(obi, &selectable, endpoint),
        },
        ProbeFile {
            name: "beyla-config.yaml",
            text: configuration(beyla, &selectable, endpoint),
        },
        ProbeFile {
            name: "probes.bt",
            text: script(probes),
        },
    ]
}

/// What selects the process of a gap: the workload, else the executable and its port, else the port.
fn selector(probe: &Probe) -> Option<Value> {
    if let Some(workload) = &probe.workload {
        let key = match workload.kind.as_str() {
            "Deployment" => "k8s_deployment_name",
            "StatefulSet" => "k8s_statefulset_name",
            "DaemonSet" => "k8s_daemonset_name",
            "ReplicaSet" => "k8s_replicaset_name",
            "Pod" => "k8s_pod_name",
            _ => "k8s_owner_name",
        };
        return Some(json!({"k8s_namespace": workload.namespace, key: workload.name}));
    }
    match (&probe.executable, probe.port) {
        (Some(path), Some(port)) => Some(json!({"open_ports": port.to_string(), "exe_path": path})),
        (Some(path), None) => Some(json!({"exe_path": path})),
        (None, Some(port)) => Some(json!({"open_ports": port.to_string()})),
        (None, None) => None,
    }
}

fn configuration(head: &str, selectable: &[(&Probe, Value)], endpoint: &str) -> String {
    let mut text = head.to_owned();
    text.push_str("discovery:\n  instrument:\n");
    for (probe, selector) in selectable {
        let why = one_line(&format!("{}: {}", probe.target, probe.reason));
        push(&mut text, format_args!("    # {why}\n"));
        let fields = selector.as_object().into_iter().flatten();
        for (at, (key, value)) in fields.enumerate() {
            let dash = if at == 0 { "- " } else { "  " };
            // A JSON text is a YAML text.
            push(&mut text, format_args!("    {dash}{key}: {value}\n"));
        }
    }
    let endpoint = Value::from(endpoint);
    push(
        &mut text,
        format_args!("otel_traces_export:\n  endpoint: {endpoint}\n"),
    );
    text
}

/// A script that shows who calls the gaps, where no agent may be installed: connections by port and process.
fn script(probes: &[Probe]) -> String {
    let mut text = "#!/usr/bin/env bpftrace\n\
         // Who connects to the ports that no span tells of:\n\
         //   bpftrace probes.bt\n\
         // Counts of new connections by port are printed every ten seconds and at the end.\n"
        .to_owned();
    let mut ports: Vec<u16> = probes.iter().filter_map(|probe| probe.port).collect();
    ports.sort_unstable();
    ports.dedup();
    for probe in probes.iter().filter(|probe| probe.port.is_some()) {
        let port = probe.port.unwrap_or_default();
        let why = one_line(&probe.target);
        push(&mut text, format_args!("// {port}: {why}\n"));
    }
    let any = |side: &str| {
        let ports: Vec<String> = ports
            .iter()
            .map(|port| format!("args.{side} == {port}"))
            .collect();
        ports.join(" || ")
    };
    if ports.is_empty() {
        text.push_str("// No gap has a port that is known.\nBEGIN { exit(); }\n");
        return text;
    }
    let (to, at) = (any("dport"), any("sport"));
    // States of the kernel: 1 is ESTABLISHED, 2 SYN_SENT, 3 SYN_RECV.
    push(
        &mut text,
        format_args!(
            "tracepoint:sock:inet_sock_set_state\n/args.oldstate == 2 && args.newstate == 1 && ({to})/\n{{\n  @called[args.dport] = count();\n}}\n\n\
             tracepoint:sock:inet_sock_set_state\n/args.oldstate == 3 && args.newstate == 1 && ({at})/\n{{\n  @accepted[args.sport] = count();\n}}\n\n\
             tracepoint:sock:inet_sock_set_state\n/args.newstate == 2 && ({to})/\n{{\n  @callers[comm, args.dport] = count();\n}}\n\n\
             interval:s:10\n{{\n  print(@called);\n  print(@accepted);\n  print(@callers);\n}}\n"
        ),
    );
    text
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let written = text.write_fmt(arguments);
    debug_assert!(written.is_ok(), "a string takes whatever is written");
}
