//! Which share of the traces of each root operation is kept, so that a budget yields the best estimates.
//!
//! Neyman's allocation with costs: of stratum k, of N traces of which each has c spans, n ∝ N·S/√c are kept, where S says
//! how much its traces differ: √(e(1 − e)) for the error ratio, and the standard deviation of the log duration for the
//! latency. Every stratum keeps a minimum, none more than it has, and the common factor λ is found by bisection.

/// Halvings of the interval of λ; more change nothing in double precision.
const HALVINGS: usize = 100;

/// The log duration of an operation of which nothing is known: a third of them take 1.65 times the median or more.
pub const LOG_SD_UNKNOWN: f64 = 0.5;

/// The traces that begin with one operation, over the time that is planned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stratum {
    /// How many are expected.
    pub traces: f64,
    /// Spans of each, on average; at least 1.
    pub spans_per_trace: f64,
    /// Share of them that fails.
    pub error_ratio: f64,
    /// Standard deviation of the logarithm of their duration.
    pub log_sd: f64,
    /// Share of them that is kept in any case: those with an error and slow ones, where somebody sees whole traces.
    pub kept_anyway: f64,
}

impl Stratum {
    /// Spans that are kept with this ratio of those that are not kept anyway.
    pub fn kept_spans(&self, ratio: f64) -> f64 {
        self.traces * self.spans_per_trace * (self.kept_anyway + (1.0 - self.kept_anyway) * ratio)
    }

    /// The traces that a ratio decides about.
    fn open(&self) -> f64 {
        (self.traces * (1.0 - self.kept_anyway)).max(0.0)
    }
}

/// How the budget is divided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Division {
    /// Spans that may be kept.
    pub spans: f64,
    /// Traces that each stratum keeps at least.
    pub min_traces: f64,
    /// Weight of the latency against that of the errors, 0 to 1.
    pub latency_weight: f64,
}

/// The ratio of each stratum, in the same order, above 0 and at most 1.
///
/// Where all fits, all is kept. Where not even the minimum does, every stratum gets the same part of it.
pub fn allocate(strata: &[Stratum], division: &Division) -> Vec<f64> {
    let anyway: f64 = strata.iter().map(|own| own.kept_spans(0.0)).sum();
    let spans = (division.spans - anyway).max(0.0);
    let weights = weights(strata, division.latency_weight);
    let floors: Vec<f64> = strata
        .iter()
        .map(|own| own.open().min(division.min_traces))
        .collect();
    let cost = |traces: &dyn Fn(usize, &Stratum) -> f64| -> f64 {
        let each = strata.iter().enumerate();
        each.map(|(at, own)| traces(at, own) * own.spans_per_trace)
            .sum()
    };
    let floor = |at: usize| floors.get(at).copied().unwrap_or(0.0);
    let least = cost(&|at, _| floor(at));
    let kept: Vec<f64> = if cost(&|_, own| own.open()) <= spans {
        strata.iter().map(Stratum::open).collect()
    } else if least >= spans {
        let part = if least > 0.0 { spans / least } else { 0.0 };
        floors.iter().map(|floor| floor * part).collect()
    } else {
        let at_factor = |factor: f64, at: usize, own: &Stratum| {
            let wanted = factor * weights.get(at).copied().unwrap_or(0.0);
            wanted.max(floor(at)).min(own.open())
        };
        let (mut low, mut high) = (0.0, 1.0);
        while cost(&|at, own| at_factor(high, at, own)) < spans && high < f64::MAX / 4.0 {
            high *= 2.0;
        }
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(low, high);
            if cost(&|at, own| at_factor(middle, at, own)) < spans {
                low = middle;
            } else {
                high = middle;
            }
        }
        let each = strata.iter().enumerate();
        each.map(|(at, own)| at_factor(low, at, own)).collect()
    };
    let ratios = strata.iter().zip(kept);
    ratios.map(|(own, kept)| ratio(own, kept)).collect()
}

/// The ratio that keeps so many; nothing is ever left out wholly, since a ratio of 0 cannot be made up for by a weight.
fn ratio(stratum: &Stratum, kept: f64) -> f64 {
    if stratum.open() <= 0.0 {
        return 1.0;
    }
    (kept / stratum.open()).clamp(RATIO_MIN, 1.0)
}

/// The smallest ratio: one in a million.
pub const RATIO_MIN: f64 = 1e-6;

/// N·S/√c of each stratum; errors and latency in units of their mean, so that they can be weighed.
fn weights(strata: &[Stratum], latency_weight: f64) -> Vec<f64> {
    let error_sd = |own: &Stratum| {
        let ratio = own.error_ratio.clamp(0.0, 1.0);
        (ratio * (1.0 - ratio)).sqrt()
    };
    let mean_of = |value: &dyn Fn(&Stratum) -> f64| {
        let traces: f64 = strata.iter().map(|own| own.traces).sum();
        let sum: f64 = strata.iter().map(|own| own.traces * value(own)).sum();
        if sum > 0.0 && traces > 0.0 {
            sum / traces
        } else {
            1.0
        }
    };
    let (errors, latency) = (mean_of(&error_sd), mean_of(&|own| own.log_sd));
    let weight = |own: &Stratum| {
        let differs =
            (1.0 - latency_weight) * error_sd(own) / errors + latency_weight * own.log_sd / latency;
        own.open() * differs / own.spans_per_trace.max(1.0).sqrt()
    };
    strata.iter().map(weight).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stratum(traces: f64, error_ratio: f64) -> Stratum {
        Stratum {
            traces,
            spans_per_trace: 10.0,
            error_ratio,
            log_sd: 0.5,
            kept_anyway: 0.0,
        }
    }

    fn division(spans: f64) -> Division {
        Division {
            spans,
            min_traces: 100.0,
            latency_weight: 0.0,
        }
    }

    /// n ∝ N√(e(1 − e)): 90 000·√(0.01·0.99) : 10 000·√(0.2·0.8) = 8 954.89 : 4 000, of 5 000 traces 3 456.18 and 1 543.82.
    #[test]
    fn traces_go_where_errors_vary() {
        let strata = [stratum(90_000.0, 0.01), stratum(10_000.0, 0.2)];
        let ratios = allocate(&strata, &division(50_000.0));
        assert!((ratios[0] * 90_000.0 - 3_456.18).abs() < 0.01, "{ratios:?}");
        assert!((ratios[1] * 10_000.0 - 1_543.82).abs() < 0.01, "{ratios:?}");
    }

    /// Cochran: with costs, n ∝ N·S/√c.
    #[test]
    fn an_expensive_operation_keeps_fewer_traces() {
        let cheap = stratum(10_000.0, 0.1);
        let costly = Stratum {
            spans_per_trace: 90.0,
            ..cheap
        };
        let ratios = allocate(&[cheap, costly], &division(40_000.0));
        assert!((ratios[0] / ratios[1] - 3.0).abs() < 1e-6, "{ratios:?}");
        assert!((ratios[0] * 100_000.0 + ratios[1] * 900_000.0 - 40_000.0).abs() < 1e-3);
    }

    #[test]
    fn a_rare_operation_keeps_its_minimum_and_a_budget_for_all_keeps_all() {
        let strata = [stratum(1e6, 0.01), stratum(150.0, 0.0)];
        let ratios = allocate(&strata, &division(20_000.0));
        assert!((ratios[1] * 150.0 - 100.0).abs() < 1e-6, "{ratios:?}");
        assert_eq!(allocate(&strata, &division(2e7)), [1.0, 1.0]);
        // Less than the minimum of all.
        let poor = allocate(&strata, &division(1_000.0));
        assert!((poor[0] * 1e6 - 50.0).abs() < 1e-6, "{poor:?}");
        assert!((poor[1] * 150.0 - 50.0).abs() < 1e-6, "{poor:?}");
    }

    #[test]
    fn what_is_kept_anyway_is_paid_first() {
        let strata = [Stratum {
            kept_anyway: 0.05,
            ..stratum(10_000.0, 0.04)
        }];
        // 500 traces of 10 000 are kept anyway, which leaves 1 000 spans for 9 500.
        let ratios = allocate(
            &strata,
            &Division {
                min_traces: 0.0,
                ..division(6_000.0)
            },
        );
        assert!((ratios[0] - 100.0 / 9_500.0).abs() < 1e-9, "{ratios:?}");
        assert!((strata[0].kept_spans(ratios[0]) - 6_000.0).abs() < 1e-6);
        assert_eq!(allocate(&strata, &division(0.0)), [RATIO_MIN]);
    }

    fn strata() -> impl Strategy<Value = Vec<Stratum>> {
        let one = (
            1.0..1e6_f64,
            1.0..100.0_f64,
            0.0..1.0_f64,
            0.01..2.0_f64,
            0.0..0.2_f64,
        );
        let one = one.prop_map(
            |(traces, spans_per_trace, error_ratio, log_sd, kept_anyway)| Stratum {
                traces,
                spans_per_trace,
                error_ratio,
                log_sd,
                kept_anyway,
            },
        );
        prop::collection::vec(one, 1..20)
    }

    proptest! {
        #[test]
        fn property_the_budget_is_spent_and_more_of_it_keeps_no_less(
            strata in strata(), share in 0.001..2.0_f64, latency_weight in 0.0..1.0_f64, min_traces in 0.0..1e3_f64,
        ) {
            let full: f64 = strata.iter().map(|own| own.kept_spans(1.0)).sum();
            let anyway: f64 = strata.iter().map(|own| own.kept_spans(0.0)).sum();
            let division = Division { spans: share * full, min_traces, latency_weight };
            let ratios = allocate(&strata, &division);
            let kept: f64 = strata.iter().zip(&ratios).map(|(own, ratio)| own.kept_spans(*ratio)).sum();
            // One in a million is kept whatever the budget.
            let wanted = division.spans.clamp(anyway, full);
            prop_assert!((kept - wanted).abs() <= 1e-5 * full, "{kept} of {wanted}");
            let more = allocate(&strata, &Division { spans: division.spans * 1.3, ..division });
            for (few, many) in ratios.iter().zip(&more) {
                prop_assert!(*few <= many * (1.0 + 1e-6) && *few > 0.0 && *many <= 1.0);
            }
        }
    }
}
