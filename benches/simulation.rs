//! Faults simulated on healthy traces, and put into a model learnt from them, against traffic that really had them.
//!
//! Not a measurement of time: it prints a table. `cargo bench --bench simulation [-- SECONDS]`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a table for people, of files that are there"
)]

#[path = "../tests/it/support/truth.rs"]
mod truth;

use truth::{Entry, faults, learned, recorded, simulated, systems, traffic};

/// 45 minutes of traffic at ten visits a second, unless an argument says how many seconds.
const SECS: u64 = 2_700;

fn main() {
    let secs = std::env::args()
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(SECS);
    let folder = tempfile::tempdir().unwrap();
    println!(
        "| system | fault | truth p95 ms | simulated | learnt | truth errors % | simulated | learnt |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut worst = (0.0_f64, 0.0_f64);
    for (system, model) in systems() {
        let healthy = recorded(traffic(&model, secs, 1, None), folder.path());
        let learnt = learned(&healthy);
        for (name, fault) in faults() {
            let predicted = simulated(&healthy, &fault);
            let from_model = Entry::of_generated(&traffic(&learnt, secs, 3, Some(&fault)));
            let truth = Entry::of_generated(&traffic(&model, secs, 2, Some(&fault)));
            let off = |a: f64, b: f64| 100.0 * (a / b - 1.0);
            worst.0 = worst.0.max(off(predicted.p95_ms, truth.p95_ms).abs());
            worst.1 = worst
                .1
                .max(off(predicted.error_ratio, truth.error_ratio).abs());
            println!(
                "| {system} | {name} | {:.1} | {:.1} ({:+.1} %) | {:.1} ({:+.1} %) | {:.2} | {:.2} ({:+.1} %) | {:.2} ({:+.1} %) |",
                truth.p95_ms,
                predicted.p95_ms,
                off(predicted.p95_ms, truth.p95_ms),
                from_model.p95_ms,
                off(from_model.p95_ms, truth.p95_ms),
                100.0 * truth.error_ratio,
                100.0 * predicted.error_ratio,
                off(predicted.error_ratio, truth.error_ratio),
                100.0 * from_model.error_ratio,
                off(from_model.error_ratio, truth.error_ratio),
            );
        }
    }
    println!(
        "\nsimulated, at worst: p95 {:.1} % off, error ratio {:.1} % off",
        worst.0, worst.1
    );
}
