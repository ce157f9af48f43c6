//! One webhook: each transition is posted in its order, again until it is taken or given up, and what is done with is
//! remembered in the store.
//!
//! The body is `{schema_version, type, timestamp, data}`, with the headers of Standard Webhooks. `webhook-id` is the same
//! for each attempt and after a restart, so that a receiver knows what it had before: delivery is at least once.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, StatusCode, Url};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::evaluator::verdict::timestamp;
use crate::model::NANOS_PER_SEC;
use crate::model::record::{Transition, TransitionPage};
use crate::model::series::ServiceKey;
use crate::notify::signature::Signer;
use crate::notify::{LogError, NotifyError, TransitionLog, WebhookConfig};
use crate::outgoing::backoff::{delay, retry_after};
use crate::outgoing::{self, text, url};
use crate::telemetry::NotifierCounters;

/// Version of the body.
pub(super) const SCHEMA_VERSION: &str = "slo-copilot/webhook/v1";

/// Transitions that are read at once.
const PAGE: usize = 100;

/// A log that cannot be read is tried again after so long.
const LOG_PAUSE: Duration = Duration::from_secs(5);

/// A receiver of transitions.
#[derive(Debug)]
pub(super) struct Webhook {
    config: WebhookConfig,
    url: Url,
    headers: HeaderMap,
    signer: Option<Signer>,
    client: Client,
    clock: Clock,
    jitter: StdRng,
}

/// What is posted.
#[derive(Debug, Serialize)]
struct Body<'a> {
    schema_version: &'static str,
    /// The kind of transition and `.changed`.
    r#type: String,
    /// When it changed.
    timestamp: Timestamp,
    data: Data<'a>,
}

#[derive(Debug, Serialize)]
struct Data<'a> {
    sequence: u64,
    kind: &'a str,
    subject: &'a str,
    service: Option<&'a ServiceKey>,
    from: &'a str,
    to: &'a str,
    text: &'a str,
}

/// What became of an attempt.
enum Attempt {
    Taken,
    /// The receiver wants no more of it.
    Gone,
    Failed {
        said: String,
        retry_after: Option<Duration>,
    },
}

impl Webhook {
    pub(super) fn new(
        key: &str,
        config: &WebhookConfig,
        ca_file: Option<&Path>,
        clock: Clock,
    ) -> Result<Self, NotifyError> {
        let url = url(&format!("{key}.url"), &config.url)?;
        let secret_key = format!("{key}.secret");
        let signer = config.secret.as_ref().map(|secret| {
            Signer::new(&secret.resolve(&secret_key)?).map_err(|message| NotifyError {
                key: secret_key.clone(),
                message: message.to_owned(),
            })
        });
        let client = outgoing::client([&url], ca_file, config.timeout);
        let client = client.map_err(|error| NotifyError {
            key: key.to_owned(),
            message: error.to_string(),
        })?;
        Ok(Self {
            headers: text::headers(key, &config.headers)?,
            signer: signer.transpose()?,
            config: config.clone(),
            jitter: StdRng::seed_from_u64(clock.now()),
            url,
            client,
            clock,
        })
    }

    /// Tells what comes after the last transition that is done with; a webhook that is new is told nothing of the past.
    ///
    /// What is the past is said by `told` at the time of this call.
    pub(super) fn run(
        self,
        log: Arc<dyn TransitionLog>,
        told: watch::Receiver<u64>,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send {
        let start = *told.borrow();
        self.run_from(start, log, told, stop)
    }

    async fn run_from(
        mut self,
        start: u64,
        log: Arc<dyn TransitionLog>,
        mut told: watch::Receiver<u64>,
        stop: CancellationToken,
    ) {
        let counters = NotifierCounters::new("webhook", &self.config.name);
        let reader = Reader {
            name: format!("webhook/{}", self.config.name),
            log,
        };
        let mut cursor = loop {
            match reader.begin(start).await {
                Ok(cursor) => break cursor,
                Err(error) => tracing::error!(webhook = self.config.name, %error, "Cannot begin."),
            }
            tokio::select! {
                () = sleep(LOG_PAUSE) => {}
                () = stop.cancelled() => return,
            }
        };
        loop {
            let is_last = stop.is_cancelled();
            told.borrow_and_update();
            let caught_up = self.catch_up(&reader, &mut cursor, &counters, &stop).await;
            if let Err(error) = &caught_up {
                tracing::error!(
                    webhook = self.config.name,
                    %error,
                    "Cannot read what changed; trying again."
                );
            }
            if is_last {
                return;
            }
            tokio::select! {
                // Without a sender there is nothing new, but the stop is still to come.
                changed = told.changed() => if changed.is_err() { stop.cancelled().await },
                () = sleep(LOG_PAUSE), if caught_up.is_err() => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Delivers all that is there. Once `stop` is cancelled each message has one attempt, and a failure ends it.
    async fn catch_up(
        &mut self,
        reader: &Reader,
        cursor: &mut u64,
        counters: &NotifierCounters,
        stop: &CancellationToken,
    ) -> Result<(), LogError> {
        loop {
            let page = reader.after(*cursor).await?;
            if page.last < *cursor {
                // The store was replaced by an older one.
                *cursor = page.last;
                return reader.keep(*cursor).await;
            }
            if page.dropped > 0 {
                counters.dropped.increment(page.dropped);
                tracing::error!(
                    webhook = self.config.name,
                    dropped = page.dropped,
                    "Transitions were lost before they were delivered: storage.max_transitions is too small for it."
                );
            }
            let is_all = page.transitions.len() < PAGE;
            for transition in &page.transitions {
                if self.wants(transition) && !self.deliver(transition, counters, stop).await {
                    // It is told after the restart.
                    return Ok(());
                }
                *cursor = transition.sequence;
                if self.wants(transition) {
                    reader.keep(*cursor).await?;
                }
            }
            if !page.transitions.is_empty() {
                reader.keep(*cursor).await?;
            }
            if is_all {
                return Ok(());
            }
        }
    }

    fn wants(&self, transition: &Transition) -> bool {
        let WebhookConfig {
            events, services, ..
        } = &self.config;
        let service = transition
            .service
            .as_ref()
            .map_or("*", |service| &*service.name);
        (events.is_empty() || events.contains(&transition.kind))
            && (services.is_empty() || services.iter().any(|wanted| wanted == service))
    }

    /// Whether it is done with: taken, or given up for good. Not so if the stop came first.
    async fn deliver(
        &mut self,
        transition: &Transition,
        counters: &NotifierCounters,
        stop: &CancellationToken,
    ) -> bool {
        let mut retry = 0;
        loop {
            let attempt = self.attempt(transition).await;
            let (said, asked) = match attempt {
                Attempt::Taken => {
                    counters.delivered.increment(1);
                    return true;
                }
                Attempt::Gone => {
                    counters.failed.increment(1);
                    self.give_up(transition, counters, "410 Gone");
                    return true;
                }
                Attempt::Failed { said, retry_after } => (said, retry_after),
            };
            counters.failed.increment(1);
            if retry >= self.config.retries {
                self.give_up(transition, counters, &said);
                return true;
            }
            let (min, max) = (self.config.retry_min, self.config.retry_max);
            let wait = delay(retry, min, max, self.jitter.random());
            let wait = asked.map_or(wait, |asked| asked.max(wait)).min(max);
            tracing::warn!(
                webhook = self.config.name,
                sequence = transition.sequence,
                error = said,
                again_in_secs = wait.as_secs_f64(),
                "Not delivered."
            );
            retry += 1;
            tokio::select! {
                () = sleep(wait) => {}
                () = stop.cancelled() => return false,
            }
        }
    }

    fn give_up(&self, transition: &Transition, counters: &NotifierCounters, said: &str) {
        counters.dropped.increment(1);
        tracing::error!(
            webhook = self.config.name,
            sequence = transition.sequence,
            error = said,
            "Given up."
        );
    }

    async fn attempt(&self, transition: &Transition) -> Attempt {
        let failed = |said: String| Attempt::Failed {
            said,
            retry_after: None,
        };
        let body = match serde_json::to_vec(&body(transition)) {
            Ok(body) => body,
            Err(error) => return failed(error.to_string()),
        };
        let now = self.clock.now();
        let id = message_id(transition);
        let seconds = now / NANOS_PER_SEC;
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", seconds)
            .headers(self.headers.clone());
        if let Some(signer) = &self.signer {
            request = request.header("webhook-signature", signer.sign(&id, seconds, &body));
        }
        let response = match request.body(body).send().await {
            Ok(response) => response,
            Err(error) => return failed(outgoing::said(error)),
        };
        let status = response.status();
        if status.is_success() {
            return Attempt::Taken;
        }
        if status == StatusCode::GONE {
            return Attempt::Gone;
        }
        let asked = response.headers().get(RETRY_AFTER);
        let asked = asked.and_then(|value| value.to_str().ok());
        Attempt::Failed {
            said: status.to_string(),
            retry_after: asked.and_then(|value| retry_after(value, timestamp(now))),
        }
    }
}

/// The same for each attempt; another one for another store, whose numbers begin anew.
fn message_id(transition: &Transition) -> String {
    format!("msg_{:x}_{}", transition.at, transition.sequence)
}

fn body(transition: &Transition) -> Body<'_> {
    let Transition {
        sequence,
        at,
        kind,
        subject,
        service,
        from,
        to,
        text,
    } = transition;
    Body {
        schema_version: SCHEMA_VERSION,
        r#type: format!("{kind}.changed"),
        timestamp: timestamp(*at),
        data: Data {
            sequence: *sequence,
            kind,
            subject,
            service: service.as_ref(),
            from,
            to,
            text,
        },
    }
}

/// The log as one webhook reads it, off the async threads.
struct Reader {
    name: String,
    log: Arc<dyn TransitionLog>,
}

impl Reader {
    /// Where it had come to, or `start`, which is remembered.
    async fn begin(&self, start: u64) -> Result<u64, LogError> {
        let (log, name) = (Arc::clone(&self.log), self.name.clone());
        spawn_blocking(move || {
            if let Some(cursor) = log.cursor(&name)? {
                return Ok(cursor);
            }
            log.keep_cursor(&name, start)?;
            Ok(start)
        })
        .await?
    }

    async fn after(&self, cursor: u64) -> Result<TransitionPage, LogError> {
        let log = Arc::clone(&self.log);
        spawn_blocking(move || log.after(cursor, PAGE)).await?
    }

    async fn keep(&self, cursor: u64) -> Result<(), LogError> {
        let (log, name) = (Arc::clone(&self.log), self.name.clone());
        spawn_blocking(move || log.keep_cursor(&name, cursor)).await?
    }
}
