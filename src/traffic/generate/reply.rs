//! What a caller gets, and what HTTP and gRPC say of it.

use std::time::Duration;

use crate::traffic::model::ErrorKind;

/// Who is to blame for an answer, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Blame {
    Nobody,
    /// The caller's fault: HTTP 404, gRPC `NOT_FOUND`.
    Caller,
    /// The callee's fault: HTTP 500, gRPC `INTERNAL`.
    Callee,
}

/// How an operation fails, as both protocols say it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    pub(super) ratio: f64,
    pub(super) blame: Blame,
    pub(super) http_status: i64,
    pub(super) grpc_status: String,
    /// Type and message.
    pub(super) exception: Option<(String, String)>,
}

/// Which HTTP status stands for which gRPC code, the usual one of several first.
const STATUSES: [(i64, &str); 16] = [
    (200, "OK"),
    (400, "INVALID_ARGUMENT"),
    (400, "FAILED_PRECONDITION"),
    (400, "OUT_OF_RANGE"),
    (401, "UNAUTHENTICATED"),
    (403, "PERMISSION_DENIED"),
    (404, "NOT_FOUND"),
    (409, "ALREADY_EXISTS"),
    (409, "ABORTED"),
    (429, "RESOURCE_EXHAUSTED"),
    (499, "CANCELLED"),
    (500, "INTERNAL"),
    (500, "UNKNOWN"),
    (501, "UNIMPLEMENTED"),
    (503, "UNAVAILABLE"),
    (504, "DEADLINE_EXCEEDED"),
];

impl Failure {
    pub(super) fn new(kind: &ErrorKind) -> Self {
        let exception = (!kind.kind.is_empty()).then(|| (kind.kind.clone(), kind.message.clone()));
        let status = kind.status.as_deref().unwrap_or("INTERNAL");
        Self {
            ratio: kind.ratio,
            exception,
            ..Self::with_status(status)
        }
    }

    /// A failure with an HTTP status or the name of a gRPC code.
    pub(super) fn with_status(status: &str) -> Self {
        let number = status.parse::<i64>();
        let found = STATUSES.iter().find(|(http, grpc)| match &number {
            Ok(number) => http == number,
            Err(_) => *grpc == status,
        });
        let (http_status, grpc_status) = match (&number, found) {
            (Ok(number), Some((_, grpc))) => (*number, (*grpc).to_owned()),
            (Ok(number), None) if *number < 500 => (*number, "FAILED_PRECONDITION".to_owned()),
            (Ok(number), None) => (*number, "UNKNOWN".to_owned()),
            (Err(_), Some((http, grpc))) => (*http, (*grpc).to_owned()),
            (Err(_), None) => (500, status.to_owned()),
        };
        let blame = match http_status {
            ..400 => Blame::Nobody,
            400..500 => Blame::Caller,
            _ => Blame::Callee,
        };
        Self {
            ratio: 0.0,
            blame,
            http_status,
            grpc_status,
            exception: None,
        }
    }

    /// A service that is out.
    pub(super) fn outage() -> Self {
        Self::with_status("UNAVAILABLE")
    }

    /// Nobody waited any longer.
    pub(super) fn timeout(after: Duration) -> Self {
        let message = format!("no answer within {after:?}");
        Self {
            exception: Some(("TimeoutError".to_owned(), message)),
            ..Self::with_status("DEADLINE_EXCEEDED")
        }
    }
}

/// What a caller gets.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reply {
    pub(super) blame: Blame,
    pub(super) http_status: i64,
    pub(super) grpc_status: String,
}

impl Reply {
    pub(super) fn ok() -> Self {
        Self::of(&Failure::with_status("OK"))
    }

    pub(super) fn of(failure: &Failure) -> Self {
        Self {
            blame: failure.blame,
            http_status: failure.http_status,
            grpc_status: failure.grpc_status.clone(),
        }
    }

    /// What somebody answers who could not do without this reply.
    pub(super) fn passed_on(&self) -> Self {
        match self.blame {
            Blame::Nobody => Self::ok(),
            Blame::Caller => self.clone(),
            Blame::Callee => Self::of(&Failure::with_status("INTERNAL")),
        }
    }

    pub(super) fn is_failed(&self) -> bool {
        self.blame == Blame::Callee
    }

    /// The worse of two.
    pub(super) fn worse(self, other: Self) -> Self {
        if other.blame > self.blame {
            other
        } else {
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_of_both_protocols_blame_the_same_side() {
        for (status, http, grpc, blame) in [
            ("404", 404, "NOT_FOUND", Blame::Caller),
            ("NOT_FOUND", 404, "NOT_FOUND", Blame::Caller),
            ("503", 503, "UNAVAILABLE", Blame::Callee),
            ("502", 502, "UNKNOWN", Blame::Callee),
            ("DEADLINE_EXCEEDED", 504, "DEADLINE_EXCEEDED", Blame::Callee),
            (
                "RESOURCE_EXHAUSTED",
                429,
                "RESOURCE_EXHAUSTED",
                Blame::Caller,
            ),
        ] {
            let failure = Failure::with_status(status);
            assert_eq!(
                (failure.http_status, failure.grpc_status.as_str()),
                (http, grpc)
            );
            assert_eq!(failure.blame, blame, "{status}");
        }
    }
}
