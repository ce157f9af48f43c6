//! `GET /`: the newest report on one page, without scripts or anything to load.
//!
//! Names come from telemetry, so everything is escaped, and the page's policy forbids scripts
//! besides.

use std::fmt::{self, Display, Formatter};

use crate::exporter::markup::Escaped;
use crate::exporter::topology::svg;
use crate::model::budget_policy::PolicyStatus;
use crate::model::candidate::{Candidate, CandidateState, Replay};
use crate::model::period::Period;
use crate::model::report::{ErrorBudget, Report, ServiceReport, Verdict, VerdictReport};
use crate::model::slo::Budgeting;
use crate::model::topology::ServiceGraph;
use crate::model::window::Window;

/// Rows of a table at most; the API has them all.
const ROWS: usize = 200;

/// Columns of numbers, aligned like them.
const NUMBERS: [&str; 8] = [
    "requests in 1h",
    "errors in 1h",
    "p95 in 1h",
    "target",
    "requests",
    "errors",
    "p95",
    "traces",
];

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="10">
<title>slo-copilot</title>
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid #8884; padding: .3rem .6rem .3rem 0; }
th, td { text-align: left; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
code { font-size: .9em; }
.verdict { border-radius: .3rem; color: #fff; padding: .1rem .5rem; }
.pass { background: #1a7f37; }
.warn { background: #9a6700; }
.fail { background: #cf222e; }
.inconclusive { background: #6e7781; }
meter { width: 8rem; }
.scroll { overflow-x: auto; }
nav a { margin-right: 1rem; }
</style>
</head>
<body>
<h1>slo-copilot</h1>
<nav>
<a href="/metrics">metrics</a>
<a href="/api/v1/verdict">verdict</a>
<a href="/api/v1/slos">slos</a>
<a href="/api/v1/candidates">candidates</a>
<a href="/api/v1/tests">tests</a>
<a href="/api/v1/services">services</a>
<a href="/api/v1/topology?format=svg">topology</a>
<a href="/api/v1/report">report</a>
<a href="/readyz">readiness</a>
</nav>
"#;

const FOOT: &str = "</body>\n</html>\n";

/// The page of a report, or of none yet, with the service graph, if there is one.
pub(super) struct Overview<'a> {
    pub(super) report: Option<&'a Report>,
    pub(super) graph: Option<&'a ServiceGraph>,
}

impl Display for Overview<'_> {
    fn fmt(&self, page: &mut Formatter<'_>) -> fmt::Result {
        page.write_str(HEAD)?;
        match self.report {
            None => page.write_str("<p>The first evaluation has not finished yet.</p>\n")?,
            Some(report) => {
                summary(page, report)?;
                services(page, report)?;
                rollouts(page, report)?;
                objectives(page, report)?;
                tests(page, report)?;
                candidates(page, report)?;
            }
        }
        topology(page, self.graph)?;
        page.write_str(FOOT)
    }
}

/// The service graph as it is drawn, if there is anything in it.
fn topology(page: &mut Formatter<'_>, graph: Option<&ServiceGraph>) -> fmt::Result {
    match graph.filter(|graph| !graph.nodes.is_empty()) {
        Some(graph) => write!(
            page,
            "<h2>Topology</h2>\n<div class=\"scroll\">{}</div>\n",
            svg(graph)
        ),
        None => Ok(()),
    }
}

fn summary(page: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    writeln!(
        page,
        "<p>{} {}{} at {:.0}</p>",
        Badge(report.verdict.verdict),
        Score(&report.verdict),
        Action(report.verdict.action.as_deref()),
        report.generated_at
    )?;
    let said = report
        .verdict
        .reasons
        .iter()
        .chain(&report.verdict.undecided);
    page.write_str("<ul>\n")?;
    for reason in said.take(ROWS) {
        // The text names the objective.
        writeln!(page, "<li>{}</li>", Escaped(&reason.text))?;
    }
    page.write_str("</ul>\n")
}

fn services(page: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    let columns = [
        "service",
        "verdict",
        "requests in 1h",
        "errors in 1h",
        "p95 in 1h",
    ];
    table(page, "Services", &columns, &report.services, |page, row| {
        service(page, row, report.verdict_of(&row.service))
    })
}

fn service(
    page: &mut Formatter<'_>,
    row: &ServiceReport,
    verdict: Option<&VerdictReport>,
) -> fmt::Result {
    let hour = row.windows.iter().find(|sli| sli.window == Window::H1);
    let latency = row.latency.iter().find(|sli| sli.window == Window::H1);
    write!(page, "<tr><td>{}", Escaped(&row.service.name))?;
    for part in [&row.service.namespace, &row.service.environment] {
        if !part.is_empty() {
            write!(page, " <small>{}</small>", Escaped(part))?;
        }
    }
    page.write_str("</td><td>")?;
    if let Some(verdict) = verdict {
        let action = Action(verdict.action.as_deref());
        write!(
            page,
            "{} {}{action}",
            Badge(verdict.verdict),
            Score(verdict)
        )?;
    }
    writeln!(
        page,
        "</td><td class=\"number\">{}</td><td class=\"number\">{}</td>\
         <td class=\"number\">{}</td></tr>",
        Known(hour.map(|sli| sli.sums.total), 0, ""),
        Known(hour.and_then(|sli| sli.error_ratio).map(percent), 2, " %"),
        Known(latency.map(|sli| sli.p95 * 1_000.0), 1, " ms"),
    )
}

fn rollouts(page: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    let columns = [
        "rollout", "versions", "verdict", "requests", "errors", "p95", "why",
    ];
    table(page, "Rollouts", &columns, &report.canaries, |page, row| {
        let arms = [&row.baseline, &row.canary];
        let [requests, errors, p95] = [
            arms.map(|arm| Some(arm.requests as f64)),
            arms.map(|arm| arm.error_ratio.map(percent)),
            arms.map(|arm| arm.p95.map(|secs| secs * 1_000.0)),
        ];
        writeln!(
            page,
            "<tr><td>{}</td><td>{} → {}</td><td>{}</td><td class=\"number\">{} → {}</td>\
             <td class=\"number\">{} → {}</td><td class=\"number\">{} → {}</td><td>{}</td></tr>",
            Escaped(&row.service.name),
            Escaped(&row.baseline.version),
            Escaped(&row.canary.version),
            Badge(row.verdict),
            Known(requests[0], 0, ""),
            Known(requests[1], 0, ""),
            Known(errors[0], 2, " %"),
            Known(errors[1], 2, " %"),
            Known(p95[0], 1, " ms"),
            Known(p95[1], 1, " ms"),
            Escaped(&row.text),
        )
    })
}

fn tests(page: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    let columns = ["trace test", "suite", "verdict", "traces", "why"];
    let tests = report.test_results.as_ref();
    let tests = tests.map_or(&[][..], |tests| &tests.tests);
    table(page, "Trace tests", &columns, tests, |page, test| {
        writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"number\">{}</td><td>{}</td></tr>",
            Escaped(&test.name),
            Escaped(&test.suite),
            Badge(test.verdict),
            test.traces,
            Escaped(&test.text)
        )
    })
}

fn objectives(page: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    let columns = [
        "objective",
        "service",
        "target",
        "state",
        "budget left",
        "policy",
        "why",
    ];
    let composites = report.composites.iter().map(|row| Row {
        name: &row.name,
        services: row.services.join(", "),
        target: (row.target, &row.window, row.budgeting),
        state: row.state,
        budget: &row.budget,
        policy: row.policy.as_ref(),
        text: &row.text,
    });
    let objectives = report.baseline_evaluations.iter().map(|row| Row {
        name: &row.objective.name,
        services: row.objective.service.clone(),
        target: (
            row.objective.target,
            &row.objective.window,
            row.objective.budgeting,
        ),
        state: row.state,
        budget: &row.budget,
        policy: row.policy.as_ref(),
        text: &row.text,
    });
    // Composites gate in place of their members, so they come first.
    let rows: Vec<Row<'_>> = composites.chain(objectives).collect();
    table(page, "Objectives", &columns, &rows, objective)
}

/// An objective or a composite.
struct Row<'a> {
    name: &'a str,
    services: String,
    target: (f64, &'a Period, Budgeting),
    state: Verdict,
    budget: &'a ErrorBudget,
    policy: Option<&'a PolicyStatus>,
    text: &'a str,
}

fn objective(page: &mut Formatter<'_>, row: &Row<'_>) -> fmt::Result {
    let (target, window, budgeting) = row.target;
    write!(
        page,
        "<tr><td>{}</td><td>{}</td><td class=\"number\">{}",
        Escaped(row.name),
        Escaped(&row.services),
        Known(Some(percent(target)), 2, " %"),
    )?;
    if let Some(slice) = budgeting.slice() {
        write!(page, " of {slice} slices")?;
    }
    write!(
        page,
        " in {}</td><td>{}</td><td>",
        window.label(),
        Badge(row.state)
    )?;
    if let Some(remaining) = row.budget.remaining_ratio {
        let shown = remaining.clamp(0.0, 1.0);
        write!(
            page,
            "<meter min=\"0\" max=\"1\" low=\"0.25\" high=\"0.5\" optimum=\"1\" \
             value=\"{shown}\"></meter> "
        )?;
    }
    writeln!(
        page,
        "{}{}</td><td>{}</td><td>{}</td></tr>",
        Known(row.budget.remaining_ratio.map(percent), 1, " %"),
        Projected(row.budget.projected_remaining_ratio),
        Steps(row.policy),
        Escaped(row.text)
    )
}

/// What the error budget policy asks for.
struct Action<'a>(Option<&'a str>);

impl Display for Action<'_> {
    fn fmt(&self, page: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(action) => write!(page, " <strong>{}</strong>", Escaped(action)),
            None => Ok(()),
        }
    }
}

/// The steps of a policy that apply.
struct Steps<'a>(Option<&'a PolicyStatus>);

impl Display for Steps<'_> {
    fn fmt(&self, page: &mut Formatter<'_>) -> fmt::Result {
        let steps = self.0.iter().flat_map(|policy| &policy.steps);
        for step in steps.filter(|step| step.applies) {
            let (action, window) = (Escaped(&step.action), Escaped(&step.window));
            write!(page, "<strong>{action}</strong> <small>{window}</small> ")?;
        }
        Ok(())
    }
}

/// What is left of the whole calendar period's budget, where there is one.
struct Projected(Option<f64>);

impl Display for Projected {
    fn fmt(&self, page: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(remaining) => write!(
                page,
                " <small>{:.1} % of the whole period</small>",
                percent(remaining)
            ),
            None => Ok(()),
        }
    }
}

fn candidates(page: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    let open: Vec<&Candidate> = report
        .slo_candidates
        .iter()
        .filter(|candidate| match candidate.state {
            CandidateState::Provisional | CandidateState::Ready => true,
            // What the evidence itself refuses is a finding; what a person refused is done with.
            CandidateState::Rejected => candidate.evidence.rejection.is_some(),
            CandidateState::Adopted => false,
        })
        .collect();
    let columns = [
        "candidate",
        "service",
        "target",
        "state",
        "replayed",
        "missing",
    ];
    table(page, "Candidates", &columns, &open, |page, row| {
        let state = row.state.label();
        let reason = match &row.evidence.rejection {
            Some(rejection) => rejection.clone(),
            None => row.missing.join(", "),
        };
        writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td class=\"number\">{}</td>\
             <td>{state}</td><td>{}</td><td>{}</td></tr>",
            Escaped(&row.name),
            Escaped(&row.service.name),
            Known(Some(percent(row.target)), 2, " %"),
            Replayed(row.evidence.replay.as_ref()),
            Escaped(&reason),
        )
    })?;
    if open.is_empty() {
        return Ok(());
    }
    page.write_str("<p>Accept one: <code>POST /api/v1/candidates/NAME:accept</code></p>\n")
}

/// What a candidate attained in its hold-out, and how often it would have paged there.
struct Replayed<'a>(Option<&'a Replay>);

impl Display for Replayed<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Some(Replay { outcome, .. }) = self.0 else {
            return Ok(());
        };
        write!(
            formatter,
            "{:.3} %, {} pages in {:.1} d",
            100.0 * outcome.attained_ratio,
            outcome.pages,
            outcome.secs as f64 / 86_400.0
        )
    }
}

/// A heading and a table of at most [`ROWS`] rows; nothing without rows.
fn table<T>(
    page: &mut Formatter<'_>,
    title: &str,
    columns: &[&str],
    rows: &[T],
    write_row: impl Fn(&mut Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(
        page,
        "<h2>{title}</h2>\n<div class=\"scroll\"><table>\n<tr>"
    )?;
    for column in columns {
        let class = if NUMBERS.contains(column) {
            " class=\"number\""
        } else {
            ""
        };
        writeln!(page, "<th{class}>{column}</th>")?;
    }
    page.write_str("</tr>\n")?;
    for row in rows.iter().take(ROWS) {
        write_row(page, row)?;
    }
    page.write_str("</table></div>\n")?;
    match rows.len().saturating_sub(ROWS) {
        0 => Ok(()),
        omitted => writeln!(page, "<p>and {omitted} more in the API</p>"),
    }
}

fn percent(ratio: f64) -> f64 {
    ratio * 100.0
}

/// A verdict as a coloured word.
struct Badge(Verdict);

impl Display for Badge {
    fn fmt(&self, page: &mut Formatter<'_>) -> fmt::Result {
        let label = self.0.label();
        write!(page, "<span class=\"verdict {label}\">{label}</span>")
    }
}

/// The score of a verdict, if it has one.
struct Score<'a>(&'a VerdictReport);

impl Display for Score<'_> {
    fn fmt(&self, page: &mut Formatter<'_>) -> fmt::Result {
        match self.0.score {
            Some(score) => write!(page, "score {score:.0}"),
            None => Ok(()),
        }
    }
}

/// A number with that many decimals and its unit, or a dash where there is none.
struct Known(Option<f64>, usize, &'static str);

impl Display for Known {
    fn fmt(&self, page: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => write!(page, "{value:.*}{}", self.1, self.2),
            None => page.write_str("–"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exporter::prometheus::fixture;
    use crate::model::series::ServiceKey;
    use crate::model::slo::EmptySlices;

    fn overview(report: Option<&Report>) -> Overview<'_> {
        Overview {
            report,
            graph: None,
        }
    }

    #[test]
    fn the_page_shows_verdicts_objectives_with_budgets_and_candidates() {
        let page = overview(Some(&fixture::report())).to_string();
        for text in [
            "<span class=\"verdict fail\">fail</span>",
            "<span class=\"verdict inconclusive\">inconclusive</span>",
            "<td>availability-checkout</td>",
            "99.90 % in 30d",
            "value=\"0\"></meter> -9900.0 %",
            "<td>availability-search</td>",
            "14 days of history",
        ] {
            assert!(page.contains(text), "{text}\n{page}");
        }
    }

    #[test]
    fn a_composite_stands_before_its_members_with_its_slices_and_projection() {
        let mut report = fixture::report();
        let mut composite = fixture::composite("shop", &["cart", "checkout"]);
        composite.budgeting = Budgeting::RatioTimeslices {
            slice: "5m".parse().unwrap(),
            empty: EmptySlices::Good,
        };
        composite.budget.projected_remaining_ratio = Some(0.25);
        report.composites = vec![composite];
        let page = overview(Some(&report)).to_string();
        let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}\n{page}"));
        assert!(at("<td>shop</td><td>cart, checkout</td>") < at("<td>availability-checkout</td>"));
        at("99.90 % of 5m slices in 30d");
        at("<small>25.0 % of the whole period</small>");
    }

    #[test]
    fn names_from_telemetry_stay_text() {
        let mut report = fixture::report();
        let name = "<script>alert('1')</script>&\"";
        report.services = vec![fixture::service(&ServiceKey::named(name))];
        report.slo_candidates = vec![fixture::candidate(name, &ServiceKey::named(name))];
        report.baseline_evaluations = vec![fixture::objective_status(name, name)];
        report.verdict.reasons[0].text = name.to_owned();
        let page = overview(Some(&report)).to_string();
        assert!(!page.contains("<script"), "{page}");
        let escaped = "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot;";
        assert_eq!(page.matches(escaped).count(), 6, "{page}");
    }

    #[test]
    fn without_a_report_the_page_says_so() {
        let page = overview(None).to_string();
        assert!(page.contains("has not finished yet"), "{page}");
    }

    #[test]
    fn a_long_table_is_cut_and_says_how_much_is_missing() {
        let mut report = fixture::report();
        let key = ServiceKey::named("search");
        report.slo_candidates = (0..ROWS + 7)
            .map(|number| fixture::candidate(&format!("candidate-{number}"), &key))
            .collect();
        let page = overview(Some(&report)).to_string();
        assert!(page.contains("<td>candidate-199</td>"), "{page}");
        assert!(!page.contains("<td>candidate-200</td>"), "{page}");
        assert!(page.contains("and 7 more in the API"), "{page}");
    }
}
