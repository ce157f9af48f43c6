//! Handlers hand commands to the task that owns candidates and objectives, and wait for its answer.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::sync::oneshot;

use super::http::error;
use super::{Command, CommandError, Reply, Shared};

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("the evaluator has stopped; the server is shutting down")]
    Stopped,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Command(CommandError::NotFound | CommandError::Missing(_)) => {
                StatusCode::NOT_FOUND
            }
            Self::Command(CommandError::AlreadyAdopted) => StatusCode::CONFLICT,
            Self::Command(CommandError::Invalid(_)) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Command(CommandError::Failed(_)) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Stopped => StatusCode::SERVICE_UNAVAILABLE,
        };
        error(status, &self.to_string())
    }
}

/// Sends a command and waits for what became of it.
pub(super) async fn ask<T>(
    shared: &Shared,
    command: impl FnOnce(Reply<T>) -> Command,
) -> Result<T, Refusal> {
    let (reply, answer) = oneshot::channel();
    let sent = shared.state.commands.send(command(reply)).await;
    sent.map_err(|_| Refusal::Stopped)?;
    Ok(answer.await.map_err(|_| Refusal::Stopped)??)
}
