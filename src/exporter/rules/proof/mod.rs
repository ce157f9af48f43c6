//! Unit tests of rules for `promtool test rules`: for each alert the minute at which it fires and the one at which it ends,
//! and what must not fire it.
//!
//! The minutes are calculated here from what the rules mean ([`simulate`]), for the ranges of Prometheus 2 and 3 alike.
//! They are asserted by asking for `ALERTS`, which says of each alert by itself whether it fires.

mod feed;
mod scenario;
mod simulate;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::exporter::rules::alerts::{ABSENT, BURN, INVALID, SPENT, severity};
use crate::exporter::rules::model::Groups;
use crate::exporter::rules::proof::feed::{Feed, Other};
use crate::exporter::rules::proof::scenario::{
    Course, burning, held_since, low_traffic, silence, spending, step_secs,
};
use crate::exporter::rules::proof::simulate::Traffic;
use crate::exporter::rules::slices::{SliceCounting, slice_counting};
use crate::exporter::rules::slo::{Counting, Pair, Slo, counting};
use crate::exporter::rules::{Untested, groups, to_yaml};
use crate::model::slo::EmptySlices;
use crate::openslo::text::{promql_range, promql_string};
use crate::openslo::v1::RawType;

/// Length of the steps that are usual.
const MINUTE: u64 = 60;

/// Without traffic it must be quiet for so long.
const QUIET_SECS: u64 = 180 * MINUTE;

/// After so long a metric that was gone is back.
const GONE_SECS: u64 = 20 * MINUTE;

/// A file for `promtool test rules`.
#[derive(Debug, Serialize)]
pub struct TestFile {
    rule_files: Vec<String>,
    evaluation_interval: String,
    group_eval_order: Vec<String>,
    tests: Vec<TestGroup>,
}

/// Series, and what is expected of them.
#[derive(Debug, Serialize)]
struct TestGroup {
    name: String,
    interval: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    input_series: Vec<InputSeries>,
    promql_expr_test: Vec<Expectation>,
}

#[derive(Debug, Serialize)]
struct InputSeries {
    series: String,
    values: String,
}

/// What an expression gives at a time.
#[derive(Debug, Serialize)]
struct Expectation {
    expr: String,
    eval_time: String,
    exp_samples: Vec<Sample>,
}

#[derive(Debug, Serialize)]
struct Sample {
    labels: String,
    value: usize,
}

impl TestFile {
    /// As YAML.
    pub fn to_yaml(&self) -> Result<String, serde_saphyr::ser::Error> {
        to_yaml(self)
    }
}

/// The test files by what follows the service in their names: those whose windows are too long for steps of a minute say
/// how long theirs are.
pub(super) fn tests(slos: &[Slo], rule_file: &str) -> (BTreeMap<String, TestFile>, Vec<Untested>) {
    let mut by_step: BTreeMap<u64, Vec<TestGroup>> = BTreeMap::new();
    let mut untested = Vec::new();
    for slo in slos {
        match Feed::of(slo) {
            Ok(feed) => {
                let tests = Tests {
                    slo,
                    feed,
                    step_secs: step_secs(slo),
                };
                let reasons = tests.write(&mut by_step);
                untested.extend(reasons.into_iter().map(|reason| because(slo, reason)));
            }
            Err(reason) => untested.push(because(slo, reason)),
        }
    }
    let all = Groups {
        groups: slos.iter().flat_map(groups).collect(),
    };
    // Without an order, promtool takes any, and alerts would see what was recorded a step ago.
    let order: Vec<String> = all.groups.into_iter().map(|group| group.name).collect();
    let file = |(step, tests): (u64, Vec<TestGroup>)| {
        let suffix = if step == MINUTE {
            "test.yaml".to_owned()
        } else {
            format!("{}.test.yaml", promql_range(step))
        };
        let file = TestFile {
            rule_files: vec![rule_file.to_owned()],
            evaluation_interval: promql_range(step),
            group_eval_order: order.clone(),
            tests,
        };
        (suffix, file)
    };
    (by_step.into_iter().map(file).collect(), untested)
}

fn because(slo: &Slo, reason: String) -> Untested {
    Untested {
        name: slo.name.clone(),
        reason,
    }
}

/// The tests of an SLO.
struct Tests<'s> {
    slo: &'s Slo,
    feed: Feed,
    /// Length of the usual step.
    step_secs: u64,
}

impl Tests<'_> {
    /// Adds the tests to those of their steps; returns what could not be tested.
    fn write(&self, by_step: &mut BTreeMap<u64, Vec<TestGroup>>) -> Vec<String> {
        let mut untested = Vec::new();
        let mut add = |step, test| by_step.entry(step).or_default().push(test);
        for pair in self.slo.pairs() {
            let (long, short) = (pair.rule.long.label(), pair.rule.short.label());
            match burning(self.slo, &pair) {
                Some(course) => {
                    let name = format!("{} burns over {long} and {short}", self.slo.id);
                    add(
                        course.traffic.step_secs,
                        self.course(name, &course, &self.burn(&pair)),
                    );
                }
                None => untested.push(format!(
                    "no course of events is sure to fire the alert over {long} and {short}"
                )),
            }
        }
        if let Some(period) = self.slo.rolling_secs() {
            match spending(self.slo, period) {
                Some(course) => {
                    let name = format!("{} spends its budget", self.slo.id);
                    add(
                        course.traffic.step_secs,
                        self.course(name, &course, &self.alert(SPENT, &[])),
                    );
                }
                None => untested.push(
                    "no course of events is sure to spend the budget within a test".to_owned(),
                ),
            }
        }
        add(self.step_secs, self.no_traffic());
        let tests = [
            self.low_traffic(),
            self.silence(),
            self.not_numbers(),
            self.gone(),
            self.contradiction(),
        ];
        for test in tests.into_iter().flatten() {
            add(self.step_secs, test);
        }
        untested
    }

    /// A course makes one alert fire and end at its steps.
    fn course(&self, name: String, course: &Course, alert: &str) -> TestGroup {
        let at = |step: usize| step as u64 * course.traffic.step_secs;
        let fires = |step, does| firing(alert, at(step), usize::from(does));
        self.test(
            name,
            &course.traffic,
            vec![
                fires(course.fires.saturating_sub(1), false),
                fires(course.fires, true),
                fires(course.ends.saturating_sub(1), true),
                fires(course.ends, false),
            ],
        )
    }

    fn test(&self, name: String, traffic: &Traffic, expected: Vec<Expectation>) -> TestGroup {
        TestGroup {
            name,
            interval: promql_range(traffic.step_secs),
            input_series: self.input(traffic),
            promql_expr_test: expected,
        }
    }

    /// Counters that stand still fire nothing.
    fn no_traffic(&self) -> TestGroup {
        let mut traffic = Traffic::new(self.step_secs);
        traffic.go_on(QUIET_SECS.div_ceil(self.step_secs), 0, 0);
        let any = self.firing_alerts(&[]);
        self.test(
            format!("{} has no traffic", self.slo.id),
            &traffic,
            vec![
                quiet(&any, QUIET_SECS),
                counted(&self.shortest_ratio(), QUIET_SECS, 0),
            ],
        )
    }

    /// One bad event alone fires nothing, though its error ratio would.
    fn low_traffic(&self) -> Option<TestGroup> {
        let course = low_traffic(self.slo)?;
        let alone = self.at(course.alone);
        let mut expected = vec![quiet(&self.alert(BURN, &[]), alone)];
        for (pair, fires) in self.slo.pairs().iter().zip(course.fires) {
            let windows = [pair.rule.long.secs(), pair.rule.short.secs()];
            for secs in windows.into_iter().filter(|secs| self.is_direct(*secs)) {
                let above = format!("{} > {}", self.slo.ratio(secs), pair.limit.ratio);
                expected.push(counted(&above, alone, 1));
            }
            expected.push(firing(&self.burn(pair), self.at(fires), 1));
        }
        let name = format!("{} has one bad event, then enough", self.slo.id);
        Some(self.test(name, &course.traffic, expected))
    }

    /// Whether a window is up to date at every step.
    fn is_direct(&self, secs: u64) -> bool {
        match self.slo.slice_secs() {
            None => counting(secs) == Counting::Direct,
            Some(slice_secs) => matches!(
                slice_counting(secs, slice_secs),
                SliceCounting::Direct { .. }
            ),
        }
    }

    /// Slices without events are what the objective says they are.
    fn silence(&self) -> Option<TestGroup> {
        let course = silence(self.slo)?;
        let ends = self.at(course.traffic.now());
        let expected = if let Some(fires) = course.fires {
            let [page, ..] = self.slo.pairs();
            let page = self.burn(&page);
            vec![
                quiet(&page, self.at(fires.saturating_sub(1))),
                firing(&page, self.at(fires), 1),
            ]
        } else {
            let is_good = self.slo.budgeting.empty_slices() == EmptySlices::Good;
            vec![
                quiet(&self.firing_alerts(&[]), ends),
                counted(&self.shortest_ratio(), ends, usize::from(is_good)),
            ]
        };
        let name = format!("{} has no traffic any more", self.slo.id);
        Some(self.test(name, &course.traffic, expected))
    }

    /// What is not a number burns no budget, and is told of.
    fn not_numbers(&self) -> Option<TestGroup> {
        let fires = held_since(0, self.step_secs)?;
        let input = self.both(&format!("NaN+0x{}", 2 * fires));
        Some(TestGroup {
            name: format!("{} is not a number", self.slo.id),
            interval: promql_range(self.step_secs),
            input_series: input.into(),
            promql_expr_test: vec![
                quiet(&self.alert(BURN, &[]), self.at(2 * fires)),
                quiet(&self.alert(SPENT, &[]), self.at(2 * fires)),
                counted(&self.shortest_ratio(), self.at(fires), 0),
                firing(
                    &self.alert(ABSENT, &[]),
                    self.at(fires.saturating_sub(1)),
                    0,
                ),
                firing(&self.alert(ABSENT, &[]), self.at(fires), 1),
            ],
        })
    }

    /// What is gone burns no budget, and is told of until it is back.
    fn gone(&self) -> Option<TestGroup> {
        let fires = held_since(0, self.step_secs)?;
        let back = usize::try_from(GONE_SECS.div_ceil(self.step_secs)).ok()?;
        let input = self.both(&format!("{}1000+0x30", "_ ".repeat(back)));
        let absent = self.alert(ABSENT, &[]);
        Some(TestGroup {
            name: format!("{} is gone", self.slo.id),
            interval: promql_range(self.step_secs),
            input_series: input.into(),
            promql_expr_test: vec![
                quiet(&self.alert(BURN, &[]), self.at(back + 30)),
                quiet(&self.alert(SPENT, &[]), self.at(back + 30)),
                firing(&absent, self.at(fires.saturating_sub(1)), 0),
                firing(&absent, self.at(fires), 1),
                // An increase needs a second sample.
                firing(&absent, self.at(back), 1),
                firing(&absent, self.at(back + 1), 0),
            ],
        })
    }

    /// Twice as many good or bad events as events, where that can be.
    fn contradiction(&self) -> Option<TestGroup> {
        let Other::Total(total) = &self.feed.other else {
            return None;
        };
        // Within the second sample the ratio is beyond every tolerance.
        let fires = held_since(1, self.step_secs)?;
        let counter = |series: &str, each: u64| InputSeries {
            series: series.to_owned(),
            values: format!("1000000+{each}x{}", 2 * fires + 30),
        };
        let invalid = self.alert(INVALID, &[]);
        Some(TestGroup {
            name: format!("{} counts more than there is", self.slo.id),
            interval: promql_range(self.step_secs),
            input_series: vec![counter(&self.feed.part, 200), counter(total, 100)],
            promql_expr_test: vec![
                firing(&invalid, self.at(fires.saturating_sub(1)), 0),
                firing(&invalid, self.at(fires), 1),
            ],
        })
    }

    /// Seconds at a step.
    fn at(&self, step: usize) -> u64 {
        step as u64 * self.step_secs
    }

    fn shortest_ratio(&self) -> String {
        self.slo.ratio(self.slo.shortest().0)
    }

    /// The same values for both series.
    fn both(&self, values: &str) -> [InputSeries; 2] {
        self.series().map(|series| InputSeries {
            series,
            values: values.to_owned(),
        })
    }

    fn burn(&self, pair: &Pair) -> String {
        self.alert(
            BURN,
            &[
                ("long", pair.rule.long.label()),
                ("short", pair.rule.short.label()),
                ("severity", severity(pair.rule.severity)),
            ],
        )
    }

    /// An alert of the SLO, as Prometheus shows it while it fires.
    fn alert(&self, name: &str, labels: &[(&str, &str)]) -> String {
        self.firing_alerts(&[&[("alertname", name)], labels].concat())
    }

    fn firing_alerts(&self, labels: &[(&str, &str)]) -> String {
        let labels = [("alertstate", "firing")].iter().chain(labels);
        let matchers = labels.map(|(label, value)| format!("{label}={}", promql_string(value)));
        let matchers: Vec<String> = matchers.collect();
        let series = self.slo.series("ALERTS");
        series.replacen('{', &format!("{{{}, ", matchers.join(", ")), 1)
    }

    fn series(&self) -> [String; 2] {
        let (Other::Rest(other) | Other::Total(other)) = &self.feed.other;
        [self.feed.part.clone(), other.clone()]
    }

    /// The traffic as the counters of the indicator show it.
    fn input(&self, traffic: &Traffic) -> Vec<InputSeries> {
        let part = |(total, bad): (u64, u64)| match self.feed.part_is {
            RawType::Success => total - bad,
            RawType::Failure => bad,
        };
        let other = |(total, bad): (u64, u64)| match self.feed.other {
            Other::Total(_) => total,
            Other::Rest(_) => total - part((total, bad)),
        };
        let most = traffic.steps().map(|(total, _)| total).max().unwrap_or(0);
        let [part_series, other_series] = self.series();
        vec![
            InputSeries {
                series: part_series,
                values: counter(traffic.steps().map(part), most),
            },
            InputSeries {
                series: other_series,
                values: counter(traffic.steps().map(other), most),
            },
        ]
    }
}

/// A counter that grows so each step. It stands so far above 0 that `increase()` foresees no start at 0.
fn counter(steps: impl Iterator<Item = u64>, most: u64) -> String {
    let mut value = 1_000 + 10 * most;
    let mut values = vec![value.to_string()];
    let mut run = None;
    let mut write = |(each, count): (u64, u64)| {
        values.push(format!("{}+{each}x{}", value + each, count - 1));
        value += each * count;
    };
    for each in steps {
        run = match run {
            Some((same, count)) if same == each => Some((same, count + 1)),
            ended => {
                if let Some(ended) = ended {
                    write(ended);
                }
                Some((each, 1))
            }
        };
    }
    if let Some(ended) = run {
        write(ended);
    }
    values.join(" ")
}

/// How many alerts match at a time.
fn firing(alert: &str, secs: u64, wanted: usize) -> Expectation {
    counted(alert, secs, wanted)
}

/// No alert has matched until a time.
fn quiet(alert: &str, secs: u64) -> Expectation {
    let range = promql_range(secs.max(MINUTE));
    counted(&format!("last_over_time({alert}[{range}])"), secs, 0)
}

/// How many series an expression gives at a time.
fn counted(expr: &str, secs: u64, wanted: usize) -> Expectation {
    let sample = Sample {
        labels: "{}".to_owned(),
        value: wanted,
    };
    Expectation {
        expr: format!("count({expr})"),
        eval_time: promql_range(secs),
        exp_samples: if wanted == 0 {
            Vec::new()
        } else {
            vec![sample]
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_written_in_runs() {
        assert_eq!(
            counter([5, 5, 0, 0, 0, 7].into_iter(), 7),
            "1070 1075+5x1 1080+0x2 1087+7x0"
        );
        assert_eq!(counter([].into_iter(), 0), "1000");
    }
}
