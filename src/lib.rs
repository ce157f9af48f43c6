//! slo-copilot: proposes, checks and gates service level objectives from OpenTelemetry traces.
//!
//! # The way of one span
//!
//! ```text
//! OTLP/gRPC ┐
//!           ├─ intake ─ scan ─ batch ─ windows ─ acknowledged
//! OTLP/HTTP ┘  (bytes)  (views) (events)  │
//!                 │                       ├─ every tick ── snapshot ─ evaluate ─ report ─┬─ exporters ─ files
//!                 │                       │                    │            │            └─ API, /metrics, gRPC
//!                 │                       │                 results     transitions ─ store ─ notifiers
//!                 │                       └─ closed minutes ─ store ─ candidates
//!                 ├─ a sample ─ trace buffer ─ whole traces ─ trace tests
//!                 │                                        └─ adapters ─ advice ─ the next report, the sampling server
//!                 └─ all of it ─ forward ─ a backend
//! ```
//!
//! 1. **In.** [`receiver::otlp_grpc`] and [`receiver::otlp_http`] take a request, over connections that [`incoming`] closes
//!    when they are silent. [`receiver::intake`] lets it in
//!    by its bytes before its body is read, or refuses it. [`receiver::scan`] walks the wire format and hands out
//!    borrowed views; it builds no messages and allocates nothing for a span. [`receiver::json`] does the same for
//!    OTLP/JSON, and [`receiver::file`] for trace files of every format, which [`service::analysis`] takes through the same
//!    windows and judges once, at the end.
//! 2. **Batch.** [`pipeline`] lends each thread one scratch [`model::batch::EventBatch`]. [`window::event`] decides
//!    which spans are events, what their operation is ([`window::operation`]), how they ended and what they weigh
//!    ([`window::event::asked`]: what their sender was asked to send, where they do not say).
//! 3. **Windows.** [`window::Windows`] counts the batch in the [`window::series`] of the operation, of the service
//!    and of its version: counters in [`window::rolling`] slots of event time, durations in [`window::latency`],
//!    and the [`window::ledger`] of each objective. Then the request is acknowledged.
//! 4. **Tick.** Every `evaluator.interval`, [`window::slices`] of time that are over are judged, [`service`] takes a
//!    [`window::snapshot`] and [`evaluator`] makes a [`model::report::Report`] of it: [`evaluator::burn_rate`],
//!    [`evaluator::budget`], [`evaluator::error_budget_policy`], [`evaluator::composite`] and [`evaluator::verdict`].
//!    [`evaluator::policy`] says the same in CEL, Rego and PromQL, [`evaluator::lookback`] judges one window alone, and
//!    [`evaluator::gate`] decides by all of it for CI.
//! 5. **Out.** The report is published in a `watch` channel. Each [`exporter::Exporter`] runs in a task of its own,
//!    and [`api`] answers from the newest report; [`exporter::prometheus`] writes the families of `/metrics` that
//!    come from windows, [`telemetry`] those about the process; [`exporter::rules`] has Prometheus alert by the same rules.
//!    What changed is kept in the store, and [`notify`] tells webhooks and Alertmanagers from there.
//! 6. **History.** Closed minutes go to the [`store`]. From them windows are rebuilt after a restart, unless
//!    [`store::journal`] keeps all of them: by a [`window::checkpoint`], and by a log of the requests since. From the history
//!    [`evaluator::candidate`] fits the objectives that [`openslo`] documents suggest. [`store::book`] keeps who or
//!    what proposed, adopted, rejected and changed them; [`store::file`] does so in a JSON file.
//!
//! 7. **Rollouts.** While two versions of a service take requests, [`window::cohort`] records each of them by the minute,
//!    and [`evaluator::canary`] compares the new one with the old one; [`evaluator::rollout`] puts that into verdicts.
//! 8. **Whole traces.** [`trace::buffer`] keeps a sample of whole traces, of the bytes as they came. [`trace::tree`] knows
//!    self times, critical paths and where errors come from; [`tracetest`] judges traces by suites and puts faults into
//!    them; [`traffic`] makes traces from a model of services, and such models from traces.
//! 9. **Neighbours.** Each [`adapter::Adapter`] runs in a task of its own, on whole traces and reports, and what it found last
//!    joins the next report: [`adapter::coverage`] says what is not seen, [`adapter::topology`] who calls whom,
//!    [`adapter::sampling`] what telemetry will cost and which share to sample, and [`adapter::incident`] what broke when a verdict
//!    fails, by [`adapter::rca`], with the incidents that looked alike. [`adapter::kubernetes`] reads manifests for them and for
//!    the plans of [`adapter::zero_touch`].
//! 10. **On.** [`forward`] sends counted requests on to a backend, as the bytes that came. [`pii`] takes personal data out of what
//!     is kept, shown and sent.
//!
//! Invariant: acknowledged means counted. No queue stands between a receiver and the windows, and a request counts
//! wholly, less its rejected spans, or not at all.
//!
//! Invariant: the core is pure. [`window`], [`trace`], [`evaluator`], [`openslo`], [`tracetest`] and [`pii`] take `now` as an argument, do no I/O and
//! start no task. [`clock`] alone reads the time.
//!
//! Invariant: everything that grows with what is sent has a bound, a counter for what went over it, and a key in
//! [`config`].
//!
//! Invariant: a shutdown follows the data: receivers drain, a last evaluation sees all that was acknowledged, the
//! store closes, the exporters finish.
//!
//! The modules below stand in the order that the data takes. Who may import whom is held by `tests/tidy.rs`.

// The nouns, and what every part may use.
pub mod clock;
pub mod disk;
pub mod incoming;
pub mod model;
pub mod outgoing;
pub mod pii;
pub mod telemetry;

// In.
pub mod otlp;
pub mod receiver;

pub mod pipeline;

// Counted, and kept.
pub mod window;

pub mod trace;

pub mod store;

// Judged.
pub mod evaluator;

pub mod openslo;

pub mod tracetest;

pub mod adapter;

// Out.
pub mod forward;

pub mod exporter;

pub mod api;

pub mod notify;

// Around it: wiring, commands, and traffic to try it with.
pub mod config;

pub mod service;

pub mod traffic;

pub mod cli;
