//! `WatchVerdicts`: the verdict as it is evaluated, and every change of it as it was stored.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::ask::{Refusal, ask};
use super::proto::{self, WatchVerdictsResponse};
use super::verdict::{Question, answer};
use super::{Command, Shared};
use crate::model::record::{Transition, TransitionPage};
use crate::model::report::VerdictReport;

/// Messages that wait for a slow watcher.
pub(super) const WAITING: usize = 16;

/// Changes that are read at once.
const PAGE: usize = 100;

/// Kinds of changes that are told.
const KINDS: [&str; 2] = ["verdict", "action"];

type Sender = mpsc::Sender<Result<WatchVerdictsResponse, Status>>;

/// One watcher.
pub(super) struct Watcher {
    pub(super) shared: Arc<Shared>,
    pub(super) question: Question,
    /// Number of the last change that it saw; it is told none without one.
    pub(super) since: Option<u64>,
    pub(super) out: Sender,
}

/// The watcher is gone, or there is nothing more to tell.
struct Ended;

impl Watcher {
    /// Tells until the watcher goes or `shutdown` comes.
    pub(super) async fn run(self, shutdown: CancellationToken) {
        tokio::select! {
            _ended = self.tell() => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn tell(mut self) -> Result<(), Ended> {
        let mut told = self.shared.state.told.clone();
        let mut reports = self.shared.state.reports.clone();
        self.check_since(&told).await?;
        let mut last: Option<VerdictReport> = None;
        loop {
            // What changed comes before the verdict that it led to.
            told.borrow_and_update();
            self.catch_up().await?;
            reports.borrow_and_update();
            let report = self.shared.report();
            let verdict = answer(
                report.as_deref(),
                &self.question,
                self.shared.state.started_at,
                self.shared.state.limits,
            );
            if last.as_ref().is_none_or(|last| differs(last, &verdict)) {
                let cursor = self.since.unwrap_or_else(|| *told.borrow());
                let message = WatchVerdictsResponse {
                    report: Some(proto::VerdictReport::from(&verdict)),
                    cursor,
                    ..WatchVerdictsResponse::default()
                };
                self.send(Ok(message)).await?;
            }
            last = Some(verdict);
            tokio::select! {
                changed = reports.changed() => changed.map_err(|_| Ended)?,
                Ok(()) = told.changed() => {}
                () = self.out.closed() => return Err(Ended),
            }
        }
    }

    async fn check_since(&self, told: &watch::Receiver<u64>) -> Result<(), Ended> {
        let last = *told.borrow();
        let Some(since) = self.since.filter(|since| *since > last) else {
            return Ok(());
        };
        let text = format!(
            "since {since} is ahead of the last change, {last}: the server has another store; watch again with since 0"
        );
        self.send(Err(Status::out_of_range(text))).await?;
        Err(Ended)
    }

    /// Tells the changes since the last one that was told.
    async fn catch_up(&mut self) -> Result<(), Ended> {
        while let Some(cursor) = self.since {
            let asked = ask(&self.shared, |reply| Command::FollowTransitions {
                cursor,
                limit: PAGE,
                reply,
            });
            let page: TransitionPage = match asked.await {
                Ok(page) => page,
                Err(refusal) => {
                    self.send(Err(status(&refusal))).await?;
                    return Err(Ended);
                }
            };
            let is_all = page.transitions.len() < PAGE;
            let mut dropped = page.dropped;
            for transition in page.transitions {
                self.since = Some(transition.sequence);
                if self.is_about(&transition) {
                    let message = WatchVerdictsResponse {
                        cursor: transition.sequence,
                        transition: Some(proto::Transition::from(transition)),
                        dropped: std::mem::take(&mut dropped),
                        report: None,
                    };
                    self.send(Ok(message)).await?;
                }
            }
            if is_all {
                break;
            }
        }
        Ok(())
    }

    fn is_about(&self, transition: &Transition) -> bool {
        let is_asked = match &transition.service {
            Some(service) => self.question.selects(service),
            None => self.question.service.is_empty(),
        };
        is_asked && KINDS.contains(&&*transition.kind)
    }

    async fn send(&self, message: Result<WatchVerdictsResponse, Status>) -> Result<(), Ended> {
        self.out.send(message).await.map_err(|_| Ended)
    }
}

fn status(refusal: &Refusal) -> Status {
    match refusal {
        Refusal::Stopped => Status::unavailable(refusal.to_string()),
        Refusal::Command(_) => Status::internal(refusal.to_string()),
    }
}

/// Whether a watcher should hear of it: evidence and time change with every evaluation, and do not
/// count.
fn differs(last: &VerdictReport, next: &VerdictReport) -> bool {
    let said = |report: &VerdictReport| {
        let VerdictReport {
            verdict,
            ok,
            score,
            service,
            version,
            window,
            reasons,
            undecided,
            evidence: _,
            action,
            generated_at: _,
        } = report.clone();
        let subject = (service, version, window);
        (verdict, ok, score, subject, reasons, undecided, action)
    };
    said(last) != said(next)
}
