//! `serve`: the streaming processor.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::process;
use crate::clock::Clock;
use crate::config::Config;
use crate::service::Service;
use crate::telemetry;

const EXAMPLES: &str = "\
Examples:
  slo-copilot serve
  slo-copilot serve -c config/slo-copilot.yaml --set evaluator.interval=5s
  SLO_COPILOT__ADMIN__ENDPOINT=0.0.0.0:9464 slo-copilot serve

Point an OTLP exporter at it:  OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317
Look at it:                    http://127.0.0.1:9464/  and  ./slo-copilot-out/";

/// Arguments of `serve`.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Configuration file (YAML). Everything has a default.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Set one configuration key; may be repeated, wins over the file and the environment.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
}

/// Serves until SIGTERM or Ctrl-C, then drains.
pub async fn run(args: Args, clock: Clock) -> anyhow::Result<ExitCode> {
    process::use_small_pages();
    let config = Config::load(args.config.as_deref(), std::env::vars(), &args.sets)?;
    telemetry::init(config.logs.format, &config.logs.filter)?;
    process::open_as_many_files_as_allowed();
    let service = Service::start(config, clock).await?;
    service.wait(stop_signal()).await?;
    Ok(ExitCode::SUCCESS)
}

/// Ends at SIGTERM or SIGINT.
pub(super) async fn stop_signal() {
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                tokio::select! {
                    () = interrupt => {}
                    _ = terminate.recv() => {}
                }
            }
            Err(_) => interrupt.await,
        }
    }
    #[cfg(not(unix))]
    interrupt.await;
}
