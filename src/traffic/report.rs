//! What a load run measured, and what it cost the server.

use std::time::Duration;

use serde::Serialize;

#[cfg(target_os = "linux")]
use crate::model::NANOS_PER_SEC;
use crate::traffic::send::Totals;

/// The report of a load run, as `loadgen --report` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LoadReport {
    /// Time from the first request to the last answer, in an open loop at least the planned time.
    pub elapsed_secs: f64,
    /// Spans that the server took.
    pub accepted_spans: u64,
    /// Accepted spans by time.
    pub accepted_spans_per_sec: f64,
    /// Spans that the server rejected for good.
    pub rejected_spans: u64,
    /// Requests that were sent.
    pub requests: u64,
    /// Requests that were asked to come back later.
    pub refused_requests: u64,
    /// Requests that failed.
    pub failed_requests: u64,
    /// Median latency of the requests that the server took, from when they were due.
    pub request_latency_ms_p50: f64,
    /// 99th percentile of the same.
    pub request_latency_ms_p99: f64,
    /// Median time from sending to the answer of the same requests: what a client sees that waits for its turn. Where it
    /// is far below the latency, the server or its client did not keep up with the rate.
    pub answer_latency_ms_p50: f64,
    /// 99th percentile of the same.
    pub answer_latency_ms_p99: f64,
    /// CPU time of the server during the run, user and system; none if its process is not known.
    pub server_cpu_secs: Option<f64>,
    /// Accepted spans by the server's CPU time; none if that is not known or too short to measure.
    pub spans_per_cpu_sec: Option<f64>,
    /// Resident memory of the server after the run.
    pub server_rss_bytes: Option<u64>,
}

impl LoadReport {
    /// The report of a run, with the server's usage before and after it if known.
    pub fn new(totals: &Totals, server: Option<(ProcessUsage, ProcessUsage)>) -> Self {
        let elapsed_secs = totals.elapsed.as_secs_f64();
        let accepted = totals.accepted_spans as f64;
        let millis = |quantile| totals.latency_micros.value_at_quantile(quantile) as f64 / 1e3;
        let answer = |quantile| totals.answer_micros.value_at_quantile(quantile) as f64 / 1e3;
        let server_cpu_secs = server
            .map(|(before, after)| after.cpu_time.saturating_sub(before.cpu_time).as_secs_f64());
        Self {
            elapsed_secs,
            accepted_spans: totals.accepted_spans,
            accepted_spans_per_sec: ratio(accepted, elapsed_secs).unwrap_or(0.0),
            rejected_spans: totals.rejected_spans,
            requests: totals.requests,
            refused_requests: totals.refused_requests,
            failed_requests: totals.failed_requests,
            request_latency_ms_p50: millis(0.5),
            request_latency_ms_p99: millis(0.99),
            answer_latency_ms_p50: answer(0.5),
            answer_latency_ms_p99: answer(0.99),
            server_cpu_secs,
            spans_per_cpu_sec: server_cpu_secs.and_then(|cpu_secs| ratio(accepted, cpu_secs)),
            server_rss_bytes: server.map(|(_, after)| after.rss_bytes),
        }
    }
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then_some(part / whole)
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProcessUsage {
    /// User and system time of all its threads. The kernel counts it in ticks of 10 ms.
    pub cpu_time: Duration,
    /// Resident memory.
    pub rss_bytes: u64,
}

/// Why the usage of a process is not known.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// The process cannot be looked at.
    #[cfg(target_os = "linux")]
    #[error("cannot read the usage of process {pid}")]
    Process {
        /// Its id.
        pid: i32,
        /// What procfs says.
        source: procfs::ProcError,
    },
    /// Only Linux has /proc.
    #[cfg(not(target_os = "linux"))]
    #[error("the usage of process {pid} can be read on Linux only")]
    Unsupported {
        /// Its id.
        pid: i32,
    },
}

impl ProcessUsage {
    /// The usage of the process `pid` up to now.
    #[cfg(target_os = "linux")]
    pub fn of(pid: i32) -> Result<Self, UsageError> {
        let stat = procfs::process::Process::new(pid)
            .and_then(|process| process.stat())
            .map_err(|source| UsageError::Process { pid, source })?;
        let nanos_per_tick = NANOS_PER_SEC / procfs::ticks_per_second().max(1);
        let ticks = stat.utime.saturating_add(stat.stime);
        Ok(Self {
            cpu_time: Duration::from_nanos(ticks.saturating_mul(nanos_per_tick)),
            rss_bytes: stat.rss.saturating_mul(procfs::page_size()),
        })
    }

    /// The usage of the process `pid` up to now.
    #[cfg(not(target_os = "linux"))]
    pub fn of(pid: i32) -> Result<Self, UsageError> {
        Err(UsageError::Unsupported { pid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals() -> Totals {
        let mut totals = Totals::empty().unwrap();
        totals.accepted_spans = 6_000;
        totals.elapsed = Duration::from_secs(2);
        for millis in 1..=100 {
            totals.latency_micros.record(millis * 1_000).unwrap();
            totals.answer_micros.record(millis * 500).unwrap();
        }
        totals
    }

    fn usage(cpu_millis: u64, rss_bytes: u64) -> ProcessUsage {
        ProcessUsage {
            cpu_time: Duration::from_millis(cpu_millis),
            rss_bytes,
        }
    }

    #[test]
    fn rates_are_by_wall_time_and_by_the_cpu_time_of_the_run() {
        let report = LoadReport::new(&totals(), Some((usage(1_000, 10), usage(1_500, 20))));
        assert!((report.accepted_spans_per_sec - 3_000.0).abs() < 1e-6);
        assert!((report.spans_per_cpu_sec.unwrap() - 12_000.0).abs() < 1e-6);
        assert_eq!(report.server_rss_bytes, Some(20));
        assert!((report.request_latency_ms_p50 - 50.0).abs() < 0.1);
        assert!((report.request_latency_ms_p99 - 99.0).abs() < 0.1);
        assert!((report.answer_latency_ms_p50 - 25.0).abs() < 0.1);
    }

    #[test]
    fn a_server_that_is_not_known_is_null_in_the_report() {
        let json = serde_json::to_value(LoadReport::new(&totals(), None)).unwrap();
        for key in ["server_cpu_secs", "spans_per_cpu_sec", "server_rss_bytes"] {
            assert_eq!(json.get(key), Some(&serde_json::Value::Null), "{key}");
        }
    }

    #[test]
    fn cpu_time_below_a_tick_makes_no_rate() {
        let report = LoadReport::new(&totals(), Some((usage(1_000, 10), usage(1_000, 10))));
        assert_eq!(report.server_cpu_secs, Some(0.0));
        assert_eq!(report.spans_per_cpu_sec, None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_usage_of_this_process_can_be_read() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let usage = ProcessUsage::of(pid).unwrap();
        assert!(usage.rss_bytes > 100_000);
        assert!(ProcessUsage::of(-1).is_err());
    }
}
