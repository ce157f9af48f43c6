//! JUnit XML, as the test tabs of CI systems read it.

use std::collections::BTreeMap;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::visible;

/// One thing that was tested.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// What it belongs to, for example a service.
    pub suite: String,
    /// Its name, unique in the suite.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
    /// How long it took, where that was measured.
    pub seconds: Option<f64>,
}

/// What came of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not hold.
    Failed {
        /// Why, in a sentence.
        message: String,
        /// What was measured, in lines; may be empty.
        text: String,
    },
    /// It could not be decided.
    Skipped {
        /// What is missing.
        message: String,
    },
    /// It could not be tried.
    Error {
        /// What went wrong.
        message: String,
        /// More about it, in lines; may be empty.
        text: String,
    },
}

/// The cases as one JUnit report of this name, in suites in the order in which they first come up.
pub fn junit(name: &str, cases: &[Case]) -> Result<String, SerializeError> {
    let mut suites: Vec<TestSuite> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for case in cases {
        let place = *places.entry(&case.suite).or_insert_with(|| {
            suites.push(TestSuite::new(visible(&case.suite)));
            suites.len() - 1
        });
        if let Some(suite) = suites.get_mut(place) {
            suite.add_test_case(test_case(case));
        }
    }
    let mut report = Report::new(visible(name));
    report.add_test_suites(suites);
    report.to_string()
}

fn test_case(case: &Case) -> TestCase {
    let mut test = TestCase::new(visible(&case.name), status(&case.outcome));
    test.set_classname(visible(&case.suite));
    // A time that is negative, infinite or no number is no time.
    let time = case
        .seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    if let Some(time) = time {
        test.set_time(time);
    }
    test
}

fn status(outcome: &Outcome) -> TestCaseStatus {
    match outcome {
        Outcome::Passed => TestCaseStatus::success(),
        Outcome::Failed { message, text } => told(
            TestCaseStatus::non_success(NonSuccessKind::Failure),
            message,
            text,
        ),
        Outcome::Error { message, text } => told(
            TestCaseStatus::non_success(NonSuccessKind::Error),
            message,
            text,
        ),
        Outcome::Skipped { message } => told(TestCaseStatus::skipped(), message, ""),
    }
}

fn told(mut status: TestCaseStatus, message: &str, text: &str) -> TestCaseStatus {
    status.set_message(visible(message));
    if !text.is_empty() {
        status.set_description(visible(text));
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(suite: &str, name: &str, outcome: Outcome) -> Case {
        Case {
            suite: suite.to_owned(),
            name: name.to_owned(),
            outcome,
            seconds: None,
        }
    }

    fn text(text: &str) -> String {
        text.to_owned()
    }

    fn cases() -> Vec<Case> {
        vec![
            case("cart", "availability-cart", Outcome::Passed),
            case(
                "checkout",
                "availability-checkout",
                Outcome::Failed {
                    message: text("burns 50.0 times <too> \"fast\" & \u{1b}[31mred"),
                    text: text("line one\nline ]]> two"),
                },
            ),
            case(
                "cart",
                "latency-p95-cart",
                Outcome::Skipped {
                    message: text("99 events, 100 are needed"),
                },
            ),
            case(
                "checkout",
                "policy",
                Outcome::Error {
                    message: text("cannot be read"),
                    text: String::new(),
                },
            ),
        ]
    }

    #[test]
    fn what_is_written_reads_back() {
        let xml = junit("slo-copilot gate", &cases()).unwrap();
        let report = Report::deserialize_from_str(&xml).unwrap();
        assert_eq!(report.name.as_str(), "slo-copilot gate");
        assert_eq!((report.tests, report.failures, report.errors), (4, 1, 1));
        let suites: Vec<(&str, usize, usize)> = report
            .test_suites
            .iter()
            .map(|suite| (suite.name.as_str(), suite.tests, suite.disabled))
            .collect();
        assert_eq!(suites, [("cart", 2, 1), ("checkout", 2, 0)]);
        let failed = &report.test_suites[1].test_cases[0];
        assert_eq!(failed.classname.as_deref(), Some("checkout"));
        let TestCaseStatus::NonSuccess {
            kind,
            message,
            description,
            ..
        } = &failed.status
        else {
            panic!("{failed:?}");
        };
        assert_eq!(*kind, NonSuccessKind::Failure);
        assert_eq!(
            message.as_deref(),
            Some("burns 50.0 times <too> \"fast\" & \\u{1b}[31mred")
        );
        assert_eq!(description.as_deref(), Some("line one\nline ]]> two"));
        let TestCaseStatus::Skipped { message, .. } = &report.test_suites[0].test_cases[1].status
        else {
            panic!("the second case of cart is skipped");
        };
        assert_eq!(message.as_deref(), Some("99 events, 100 are needed"));
    }

    #[test]
    fn a_time_that_is_no_time_is_left_out() {
        for (seconds, time) in [
            (Some(1.5), Some(Duration::from_millis(1_500))),
            (Some(-1.0), None),
            (Some(f64::NAN), None),
            (Some(f64::INFINITY), None),
            (None, None),
        ] {
            let timed = Case {
                seconds,
                ..case("cart", "availability", Outcome::Passed)
            };
            let xml = junit("gate", &[timed]).unwrap();
            let report = Report::deserialize_from_str(&xml).unwrap();
            assert_eq!(
                report.test_suites[0].test_cases[0].time, time,
                "{seconds:?}"
            );
        }
    }

    #[test]
    fn a_report_without_cases_is_a_report() {
        let xml = junit("gate", &[]).unwrap();
        assert_eq!(Report::deserialize_from_str(&xml).unwrap().tests, 0);
    }
}
