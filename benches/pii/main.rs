//! Studies and speed of the PII guardrail.
//!
//! `cargo bench --bench pii` scrubs ten million numbers and ids of OTLP/JSON, of which none may change; scrubs a generated
//! corpus with known answers, and prints recall and precision by kind; then measures megabytes a second. It fails if a
//! number changes, or a kind misses what is asked of it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a study may panic"
)]

mod corpus;
mod numbers;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{self, Write};
use std::process::ExitCode;

use criterion::{Criterion, Throughput};
use slo_copilot::pii::{Counts, FieldOutcome, Scrubber};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NUMBERS: u64 = 10_000_000;
const SAMPLES: usize = 2_000;

/// What is asked of each kind.
const RECALL_MIN: f64 = 0.99;
const PRECISION_MIN: f64 = 0.99;

fn main() -> ExitCode {
    let scrubber = Scrubber::default();
    let numbers_stay = numbers_stay(&scrubber).unwrap();
    let corpus_holds = corpus_holds(&scrubber).unwrap();
    speed(&scrubber);
    if numbers_stay && corpus_holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn numbers_stay(scrubber: &Scrubber) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    let mut counts = Counts::default();
    let (mut changed, mut looked_at) = (0_u64, 0_u64);
    for (key, text) in numbers::all(NUMBERS) {
        looked_at += 1;
        let is_text = matches!(
            scrubber.scrub_text(&text, &mut counts),
            std::borrow::Cow::Borrowed(_)
        );
        let field = scrubber.scrub_field(key, &text, &mut counts);
        let number = scrubber.scrub_number(key, &text, &mut counts);
        if !is_text || field != FieldOutcome::Unchanged || number != FieldOutcome::Unchanged {
            changed += 1;
            if changed <= 10 {
                writeln!(out, "changed: {key}={text}")?;
            }
        }
    }
    writeln!(
        out,
        "numbers and ids: {looked_at}, changed: {changed}, findings: {}",
        counts.total()
    )?;
    Ok(changed == 0 && counts.is_empty())
}

#[derive(Default)]
struct Score {
    samples: u64,
    found: u64,
    wrong: u64,
}

fn corpus_holds(scrubber: &Scrubber) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    let mut scores: BTreeMap<String, Score> = BTreeMap::new();
    let mut shown = 0;
    for sample in corpus::all(SAMPLES) {
        let mut counts = Counts::default();
        let scrubbed = scrubber.scrub_text(&sample.text, &mut counts).into_owned();
        let score = scores.entry(sample.row.to_owned()).or_default();
        score.samples += 1;
        let is_found = sample
            .kind
            .is_some_and(|kind| counts.of(kind) > 0 && !scrubbed.contains(&sample.value));
        score.found += u64::from(is_found);
        let others: Vec<String> = counts
            .findings()
            .filter(|finding| Some(finding.kind) != sample.kind)
            .map(|finding| finding.kind.to_owned())
            .collect();
        score.wrong += u64::from(!others.is_empty());
        if (sample.kind.is_some() != is_found || !others.is_empty()) && shown < 40 {
            shown += 1;
            writeln!(out, "  {}: {:?} → {scrubbed:?}", sample.row, sample.text)?;
        }
    }
    writeln!(
        out,
        "{:32} {:>8} {:>8} {:>8}",
        "corpus", "samples", "found", "wrong"
    )?;
    let mut holds = true;
    let mut by_kind: BTreeMap<&str, Score> = BTreeMap::new();
    for (row, score) in &scores {
        writeln!(
            out,
            "{row:32} {:>8} {:>8} {:>8}",
            score.samples, score.found, score.wrong
        )?;
        let kind = row.split(' ').next().unwrap_or_default();
        let all = by_kind.entry(kind).or_default();
        if row.contains(" no ") {
            all.wrong += score.wrong;
        } else {
            all.samples += score.samples;
            all.found += score.found;
            all.wrong += score.wrong;
        }
    }
    writeln!(out, "{:32} {:>8} {:>8}", "kind", "recall", "precision")?;
    for (kind, score) in by_kind {
        let recall = score.found as f64 / score.samples.max(1) as f64;
        let precision = score.found as f64 / (score.found + score.wrong).max(1) as f64;
        holds &= recall >= RECALL_MIN && precision >= PRECISION_MIN;
        writeln!(out, "{kind:32} {recall:>8.4} {precision:>8.4}")?;
    }
    Ok(holds)
}

fn speed(scrubber: &Scrubber) {
    let mut log = String::new();
    for at in 0..2_000 {
        // Writing to a string does not fail.
        writeln!(
            log,
            "2026-11-25T16:29:{:02}.123Z INFO shop.checkout GET /api/v1/orders/{at} took {}.{} ms trace=0af7651916cd43dd8448eb211c80319c",
            at % 60,
            at % 90,
            at % 10,
        )
        .ok();
    }
    let prose =
        "the quick brown fox jumps over the lazy dog and says nothing about anybody at all \n"
            .repeat(2_000);
    let found: String = corpus::all(20).map(|sample| sample.text + "\n").collect();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<String>>();
    let json: String = numbers::spans(500);
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    let mut group = criterion.benchmark_group("scrub");
    for (name, text) in [
        ("log lines", &log),
        ("prose", &prose),
        ("lines full of findings", &found),
    ] {
        let lines = lines(text);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut counts = Counts::default();
                for line in &lines {
                    black_box(scrubber.scrub_text(line, &mut counts));
                }
            });
        });
    }
    group.throughput(Throughput::Bytes(json.len() as u64));
    group.bench_function("OTLP/JSON", |bencher| {
        bencher.iter(|| {
            black_box(
                scrubber
                    .scrub_json_text(&json, &mut Counts::default())
                    .unwrap(),
            )
        });
    });
    let attributes = [
        "http.route",
        "server.address",
        "some.attribute",
        "rpc.method",
        "app.cart.size",
    ];
    group.throughput(Throughput::Elements(attributes.len() as u64));
    group.bench_function("short attributes", |bencher| {
        let mut counts = Counts::default();
        bencher.iter(|| {
            for key in attributes {
                black_box(scrubber.scrub_field(key, "checkout-service-7", &mut counts));
            }
        });
    });
    group.finish();
    criterion.final_summary();
}
