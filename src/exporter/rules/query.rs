//! What an SLO asks Prometheus, as an expression for any window.

use promql_parser::label::Matcher;
use promql_parser::parser::{self, Expr, VectorSelector, token, value::ValueType};

use crate::openslo::rules::Rule;
use crate::openslo::rules::prometheus::{PROMQL, RANGE};
use crate::openslo::text::cut;

/// Stands for the window, as in Sloth.
const WINDOW: &str = "{{.window}}";

/// A window to try expressions with.
const ANY_WINDOW: &str = "5m";

/// So much of a query is repeated where something is wrong with it.
const SHOWN_CHARS: usize = 200;

/// An expression with the window left open, whose value has no labels of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    template: String,
    /// It was a rate.
    pub(super) was_rate: bool,
}

/// Why a query cannot be used.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refusal {
    pub(super) rule: &'static Rule,
    pub(super) message: String,
}

impl Query {
    /// A query that counts events over the window.
    pub(super) fn of_events(text: &str, is_counter: bool) -> Result<Self, Refusal> {
        let text = text.trim();
        let template = canonical(text);
        if !template.contains(WINDOW) {
            return Self::of_counter(text, is_counter);
        }
        let (template, was_rate) = as_increase(&template);
        let parsed = parse(text, &template)?;
        let mut calls = Calls::default();
        calls.note(&parsed);
        if let Some(name) = calls.instant {
            return Err(refused(
                &RANGE,
                format!(
                    "`{}`: {name}() looks at two samples, however long the window is; write increase()",
                    cut(text, SHOWN_CHARS)
                ),
            ));
        }
        let template = if is_plain_sum(&parsed).is_some() {
            template
        } else {
            format!("sum({template})")
        };
        Ok(Self { template, was_rate })
    }

    /// A selector of a counter, or the sum of one, without a range.
    fn of_counter(text: &str, is_counter: bool) -> Result<Self, Refusal> {
        let parsed = parse(text, text)?;
        let selector = match (&parsed, is_plain_sum(&parsed)) {
            (Expr::VectorSelector(selector), _) => Some((selector, text)),
            (_, Some(Expr::VectorSelector(selector))) => {
                let inner = text
                    .split_once('(')
                    .and_then(|(_, rest)| rest.rsplit_once(')'));
                inner.map(|(inner, _)| (selector, inner.trim()))
            }
            _ => None,
        };
        let plain =
            selector.filter(|(selector, _)| selector.offset.is_none() && selector.at.is_none());
        match plain {
            Some((_, written)) if is_counter => Ok(Self {
                template: format!("sum(increase({written}[{WINDOW}]))"),
                was_rate: false,
            }),
            Some((_, written)) => Err(refused(
                &RANGE,
                format!(
                    "`{}` has no range: set counter: true if it only grows, or count its events as \
                     sum(increase({}[{WINDOW}]))",
                    cut(text, SHOWN_CHARS),
                    cut(written, SHOWN_CHARS)
                ),
            )),
            None => Err(refused(
                &RANGE,
                format!(
                    "`{}` does not count over a window: write {WINDOW} in place of its ranges, as in \
                     sum(increase(requests_total[{WINDOW}])), or name a selector of a counter and set counter: true",
                    cut(text, SHOWN_CHARS)
                ),
            )),
        }
    }

    /// A query that is the ratio over the window already.
    pub(super) fn of_ratio(text: &str) -> Result<Self, Refusal> {
        let text = text.trim();
        let template = canonical(text);
        if !template.contains(WINDOW) {
            return Err(refused(
                &RANGE,
                format!(
                    "`{}` is a ratio of one moment, and the mean of ratios is not the ratio of their events: write \
                     {WINDOW} in place of its range, or give good and total events instead of raw",
                    cut(text, SHOWN_CHARS)
                ),
            ));
        }
        parse(text, &template)?;
        Ok(Self {
            template: format!("({template})"),
            was_rate: false,
        })
    }

    /// The expression for a range such as `5m`.
    pub(super) fn over(&self, range: &str) -> String {
        self.template.replace(WINDOW, range)
    }

    /// The selector whose increase is summed up, if that is all there is.
    pub(super) fn selector(&self) -> Option<VectorSelector> {
        let parsed = parser::parse(&self.over(ANY_WINDOW)).ok()?;
        let Expr::Call(call) = is_plain_sum(&parsed)? else {
            return None;
        };
        let [argument] = call.args.args.as_slice() else {
            return None;
        };
        let Expr::MatrixSelector(matrix) = &**argument else {
            return None;
        };
        let selector = &matrix.vs;
        let is_plain = selector.offset.is_none()
            && selector.at.is_none()
            && selector.matchers.or_matchers.is_empty()
            && selector.name.is_some();
        (call.func.name == "increase" && is_plain).then(|| selector.clone())
    }
}

/// Whether both count series of one metric, and each that the part counts is counted by the whole.
pub(super) fn is_part(part: &VectorSelector, whole: &VectorSelector) -> bool {
    let narrower = |matcher: &Matcher| part.matchers.matchers.contains(matcher);
    part.name == whole.name && whole.matchers.matchers.iter().all(narrower)
}

/// Whether an expression of ours is one that Prometheus understands; if not, why.
pub(super) fn check(expr: &str) -> Result<(), String> {
    parser::parse(expr).map(drop)
}

/// The template with its window written in one way, whatever spaces it has.
fn canonical(text: &str) -> String {
    let mut template = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("{{") {
        template.push_str(before);
        match behind.split_once("}}") {
            Some((name, after)) if name.trim() == ".window" => {
                template.push_str(WINDOW);
                rest = after;
            }
            Some(_) | None => {
                template.push_str("{{");
                rest = behind;
            }
        }
    }
    template.push_str(rest);
    template
}

fn parse(text: &str, template: &str) -> Result<Expr, Refusal> {
    let parsed = parser::parse(&template.replace(WINDOW, ANY_WINDOW));
    let expr = parsed.map_err(|cause| {
        refused(
            &PROMQL,
            format!(
                "`{}` is no PromQL: {}; a range is written as [{WINDOW}]",
                cut(text, SHOWN_CHARS),
                cut(&cause, SHOWN_CHARS)
            ),
        )
    })?;
    if expr.value_type() == ValueType::Vector {
        Ok(expr)
    } else {
        Err(refused(
            &PROMQL,
            format!(
                "`{}` is a {}, not a vector",
                cut(text, SHOWN_CHARS),
                expr.value_type()
            ),
        ))
    }
}

fn refused(rule: &'static Rule, message: String) -> Refusal {
    Refusal { rule, message }
}

/// What is summed up over all labels.
fn is_plain_sum(expr: &Expr) -> Option<&Expr> {
    let Expr::Aggregate(sum) = expr else {
        return None;
    };
    (sum.op.id() == token::T_SUM && sum.modifier.is_none()).then_some(&*sum.expr)
}

/// Functions that a query must not call.
#[derive(Default)]
struct Calls {
    instant: Option<&'static str>,
}

impl Calls {
    fn note(&mut self, expr: &Expr) {
        match expr {
            Expr::Aggregate(inner) => self.note(&inner.expr),
            Expr::Unary(inner) => self.note(&inner.expr),
            Expr::Paren(inner) => self.note(&inner.expr),
            Expr::Subquery(inner) => self.note(&inner.expr),
            Expr::Binary(inner) => {
                self.note(&inner.lhs);
                self.note(&inner.rhs);
            }
            Expr::Call(call) => {
                if ["irate", "idelta"].contains(&call.func.name) {
                    self.instant = Some(call.func.name);
                }
                for argument in &call.args.args {
                    self.note(argument);
                }
            }
            Expr::NumberLiteral(_)
            | Expr::StringLiteral(_)
            | Expr::VectorSelector(_)
            | Expr::MatrixSelector(_)
            | Expr::Extension(_) => {}
        }
    }
}

/// The text with each call of `rate` made one of `increase`, and whether there was any. What stands in quotes stays.
fn as_increase(text: &str) -> (String, bool) {
    let mut out = String::with_capacity(text.len() + 8);
    let mut word = String::new();
    let mut quote = None;
    let mut escaped = false;
    let mut any = false;
    for (at, character) in text.char_indices() {
        if let Some(mark) = quote {
            out.push(character);
            if character == mark && !escaped {
                quote = None;
            }
            escaped = character == '\\' && !escaped && mark != '`';
            continue;
        }
        if character.is_ascii_alphanumeric() || "_:.".contains(character) {
            word.push(character);
            continue;
        }
        let is_call = text
            .get(at..)
            .unwrap_or_default()
            .trim_start()
            .starts_with('(');
        any |= flush(&mut out, &mut word, is_call);
        if "\"'`".contains(character) {
            quote = Some(character);
            escaped = false;
        }
        out.push(character);
    }
    any |= flush(&mut out, &mut word, false);
    (out, any)
}

fn flush(out: &mut String, word: &mut String, is_call: bool) -> bool {
    let is_rate = is_call && word == "rate";
    out.push_str(if is_rate { "increase" } else { word });
    word.clear();
    is_rate
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over_1h(text: &str, is_counter: bool) -> String {
        Query::of_events(text, is_counter).unwrap().over("1h")
    }

    #[test]
    fn a_counter_without_a_range_becomes_the_sum_of_its_increase() {
        for text in [
            "errors_total{a=\"b\"}",
            "sum(errors_total{a=\"b\"})",
            " sum( errors_total{a=\"b\"} ) ",
        ] {
            assert_eq!(
                over_1h(text, true),
                "sum(increase(errors_total{a=\"b\"}[1h]))",
                "{text}"
            );
        }
        let own = r#"sum(slo_copilot_slo_events_total{slo="a) or b(",service="s",result="good"})"#;
        assert_eq!(
            over_1h(own, true),
            r#"sum(increase(slo_copilot_slo_events_total{slo="a) or b(",service="s",result="good"}[1h]))"#
        );
    }

    #[test]
    fn the_window_is_put_where_the_template_has_it_however_it_is_spaced() {
        let wanted = "sum(increase(a[1h])) + sum(increase(b[1h]))";
        let template = "sum(increase(a[{{.window}}])) + sum(increase(b[{{ .window }}]))";
        assert_eq!(over_1h(template, false), format!("sum({wanted})"));
        assert_eq!(
            over_1h("sum by (job) (increase(a[{{.window}}]))", false),
            "sum(sum by (job) (increase(a[1h])))"
        );
        assert_eq!(
            over_1h("sum(increase(a[{{.window}}]))", false),
            "sum(increase(a[1h]))"
        );
    }

    #[test]
    fn a_rate_becomes_an_increase_and_what_only_looks_like_one_stays() {
        let query = Query::of_events(
            r#"sum(rate (a{rate="rate(x)",b='\'rate('}[{{.window}}])) - sum(my_rate{c=`rate(`}) - sum(rate{a="b"})"#,
            false,
        )
        .unwrap();
        assert!(query.was_rate);
        assert_eq!(
            query.over("5m"),
            r#"sum(sum(increase (a{rate="rate(x)",b='\'rate('}[5m])) - sum(my_rate{c=`rate(`}) - sum(rate{a="b"}))"#
        );
        assert!(
            !Query::of_events("sum(increase(a[{{.window}}]))", false)
                .unwrap()
                .was_rate
        );
    }

    #[test]
    fn what_does_not_count_over_a_window_is_refused_with_what_to_write() {
        for (text, is_counter, remedy) in [
            ("errors_total", false, "set counter: true"),
            (
                "sum(errors_total)",
                false,
                "sum(increase(errors_total[{{.window}}]))",
            ),
            (
                "sum(increase(errors_total[5m]))",
                true,
                "in place of its ranges",
            ),
            (
                "sum by (job) (errors_total)",
                true,
                "in place of its ranges",
            ),
            ("errors_total offset 5m", true, "in place of its ranges"),
            ("sum(irate(a[{{.window}}]))", false, "write increase()"),
        ] {
            let refusal = Query::of_events(text, is_counter).unwrap_err();
            assert_eq!(refusal.rule.id, "rules-range", "{text}");
            assert!(refusal.message.contains(remedy), "{}", refusal.message);
        }
        let refusal = Query::of_ratio("job:errors:ratio_rate5m").unwrap_err();
        assert!(
            refusal.message.contains("the mean of ratios"),
            "{}",
            refusal.message
        );
    }

    #[test]
    fn what_is_no_promql_is_refused() {
        for text in [
            "sum(a[{{.window}}",
            "a{b=}",
            "sum(increase(a[{{.Window}}]))",
            "1 + 1",
            "\"a\"",
            "a[{{.window}}]",
        ] {
            let refusal = Query::of_events(text, true).unwrap_err();
            assert_eq!(
                refusal.rule.id, "rules-promql",
                "{text}: {}",
                refusal.message
            );
        }
    }

    #[test]
    fn the_selector_is_found_where_its_increase_is_all_there_is() {
        let selector = |text: &str| Query::of_events(text, true).unwrap().selector();
        assert_eq!(selector("a{b=\"c\"}").unwrap().name.as_deref(), Some("a"));
        assert!(selector("sum(rate(a[{{.window}}]))").is_some());
        for text in [
            "sum(increase(a[{{.window}}])) * 2",
            "sum(increase(a[{{.window}}] offset 1h))",
            "sum(delta(a[{{.window}}]))",
            "sum(increase({__name__=\"a\"}[{{.window}}]))",
        ] {
            assert!(selector(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_part_has_every_matcher_of_the_whole() {
        let selector = |text: &str| Query::of_events(text, true).unwrap().selector().unwrap();
        let whole = selector("a{job=\"x\"}");
        assert!(is_part(&selector("a{code=\"200\",job=\"x\"}"), &whole));
        assert!(!is_part(&selector("a{code=\"200\"}"), &whole));
        assert!(!is_part(&selector("b{code=\"200\",job=\"x\"}"), &whole));
    }
}
