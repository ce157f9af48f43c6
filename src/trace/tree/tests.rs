//! Trees by hand, and what holds of every trace.

use proptest::prelude::*;

use super::*;
use crate::model::series::ServiceKey;
use crate::trace::fixture::{failed, span, trace};

use SpanKind::{Client, Consumer, Internal, Producer, Server};

fn segments(tree: &TraceTree<'_>, of: usize) -> Vec<(usize, u64, u64)> {
    let path = tree.critical_path(of).into_iter();
    path.map(|segment| (segment.span, segment.start, segment.end))
        .collect()
}

fn self_times(tree: &TraceTree<'_>) -> Vec<u64> {
    (0..tree.trace().spans.len())
        .map(|index| tree.self_nanos(index))
        .collect()
}

/// A page that asks two services one after the other, and writes a log at the same time as the second.
fn page() -> Trace {
    trace(vec![
        span("page", "", "web", Server, (0, 100)),
        span("get-user", "page", "web", Client, (10, 40)),
        span("user", "get-user", "users", Server, (12, 38)),
        span("get-cart", "page", "web", Client, (45, 90)),
        span("log", "page", "web", Internal, (50, 60)),
        span("cart", "get-cart", "carts", Server, (50, 85)),
    ])
}

#[test]
fn a_tree_has_parents_and_children_by_their_start() {
    let page = page();
    let tree = TraceTree::new(&page);
    assert_eq!(tree.tops(), [0]);
    assert_eq!(tree.root(), Some(0));
    assert_eq!(tree.children(0), [1, 3, 4]);
    assert_eq!(tree.parent(5), Some(3));
    assert_eq!(tree.ancestors(5).collect::<Vec<_>>(), [3, 0]);
    assert_eq!(tree.subtree(3).collect::<Vec<_>>(), [3, 5]);
    let walk: Vec<_> = tree.depth_first().collect();
    assert_eq!(walk, [(0, 0), (1, 1), (2, 2), (3, 1), (5, 2), (4, 1)]);
    assert!(tree.orphans().is_empty() && tree.circles().is_empty());
    assert!(tree.duplicates().is_empty());
}

#[test]
fn self_time_is_what_no_synchronous_child_covers() {
    let page = page();
    // The page: 100 − (10..40) − (45..90), in which the log lies.
    assert_eq!(self_times(&TraceTree::new(&page)), [25, 4, 26, 10, 10, 35]);
}

#[test]
fn the_critical_path_goes_back_by_what_ended_last() {
    let page = page();
    let path = segments(&TraceTree::new(&page), 0);
    let wanted = [
        (0, 0, 10),
        (1, 10, 12),
        (2, 12, 38),
        (1, 38, 40),
        (0, 40, 45),
        (3, 45, 50),
        (5, 50, 85),
        (3, 85, 90),
        (0, 90, 100),
    ];
    assert_eq!(path, wanted);
}

/// Of two children side by side the one that ends later is waited for; the other is no part of the path.
#[test]
fn of_parallel_children_the_later_one_is_on_the_path() {
    let trace = trace(vec![
        span("root", "", "a", Server, (0, 20)),
        span("early", "root", "a", Internal, (1, 10)),
        span("late", "root", "a", Internal, (5, 15)),
        span("before", "root", "a", Internal, (0, 4)),
    ]);
    let tree = TraceTree::new(&trace);
    assert_eq!(
        segments(&tree, 0),
        [(3, 0, 4), (0, 4, 5), (2, 5, 15), (0, 15, 20)]
    );
    assert_eq!(tree.self_nanos(0), 5);
}

#[test]
fn messages_and_what_begins_later_are_not_waited_for() {
    let trace = trace(vec![
        span("order", "", "shop", Server, (0, 50)),
        span("publish", "order", "shop", Producer, (10, 20)),
        span("process", "publish", "mail", Consumer, (12, 90)),
        span("outlives", "order", "shop", Internal, (40, 70)),
        span("afterwards", "order", "shop", Internal, (60, 80)),
    ]);
    let tree = TraceTree::new(&trace);
    assert_eq!(
        [1, 2, 3, 4].map(|index| tree.is_synchronous(index)),
        [true, false, true, false]
    );
    assert_eq!(
        [1, 2, 3, 4].map(|index| tree.is_waited_for(index)),
        [true, false, false, false]
    );
    // What outlives its parent ran beside it for 10 all the same.
    assert_eq!(self_times(&tree), [30, 10, 78, 30, 20]);
    assert_eq!(segments(&tree, 0), [(0, 0, 10), (1, 10, 20), (0, 20, 50)]);
}

/// The server's clock is 30 ahead.
#[test]
fn clocks_that_differ_do_not_break_the_path() {
    let trace = trace(vec![
        span("call", "", "a", Client, (0, 100)),
        span("answer", "call", "b", Server, (40, 120)),
        span("query", "answer", "b", Client, (50, 110)),
    ]);
    let tree = TraceTree::new(&trace);
    assert!(tree.is_waited_for(1));
    assert_eq!(segments(&tree, 0), [(0, 0, 40), (1, 40, 100)]);
    assert_eq!(self_times(&tree), [40, 20, 60]);
}

#[test]
fn an_error_begins_where_no_child_failed() {
    let trace = trace(vec![
        failed(span("page", "", "web", Server, (0, 100))),
        failed(span("get-user", "page", "web", Client, (10, 40))),
        failed(span("user", "get-user", "users", Server, (12, 38))),
        span("get-cart", "page", "web", Client, (45, 90)),
        failed(span("cart", "get-cart", "carts", Server, (50, 85))),
    ]);
    let tree = TraceTree::new(&trace);
    let origins = (0..5).filter(|index| tree.is_error_origin(*index));
    assert!(origins.eq([2, 4]));
    let names = ["carts", "users", "web"].map(ServiceKey::named);
    assert!(tree.services().into_iter().eq(&names));
}

#[test]
fn calls_are_pairs_and_steps_into_another_service() {
    let trace = trace(vec![
        span("page", "", "web", Server, (0, 100)),
        span("load", "page", "web", Internal, (5, 95)),
        span("self-call", "load", "web", Client, (10, 40)),
        span("again", "self-call", "web", Server, (12, 38)),
        span("publish", "load", "web", Producer, (50, 55)),
        span("mail", "publish", "mailer", Consumer, (60, 70)),
        span("bare", "load", "lib", Internal, (60, 70)),
    ]);
    let tree = TraceTree::new(&trace);
    let calls: Vec<_> = tree
        .calls()
        .map(|call| (call.caller, call.callee, call.is_async))
        .collect();
    assert_eq!(calls, [(2, 3, false), (4, 5, true), (1, 6, false)]);
    assert_eq!(tree.entries(), [0, 0, 0, 3, 0, 5, 6]);
}

/// Zipkin's halves of one call have one id.
#[test]
fn the_halves_of_a_shared_span_stand_below_each_other() {
    let trace = trace(vec![
        span("1", "", "web", Server, (0, 100)),
        span("2", "1", "web", Client, (10, 90)),
        span("2", "2", "users", Server, (12, 88)),
        span("3", "2", "users", Client, (20, 80)),
    ]);
    let tree = TraceTree::new(&trace);
    assert_eq!(tree.duplicates(), [2]);
    assert_eq!(tree.parent(2), Some(1));
    assert_eq!(tree.parent(3), Some(2));
    assert_eq!(tree.tops(), [0]);
}

#[test]
fn orphans_and_circles_stand_on_top_and_are_named() {
    let trace = trace(vec![
        span("a", "c", "x", Internal, (0, 10)),
        span("b", "a", "x", Internal, (1, 9)),
        span("c", "b", "x", Internal, (2, 8)),
        span("tail", "c", "x", Internal, (3, 4)),
        span("self", "self", "x", Internal, (5, 6)),
        span("lost", "nowhere", "x", Internal, (7, 8)),
        span("root", "", "x", Server, (0, 10)),
    ]);
    let tree = TraceTree::new(&trace);
    assert_eq!(tree.circles(), [0]);
    assert_eq!(tree.orphans(), [4, 5]);
    assert_eq!(tree.tops(), [0, 4, 5, 6]);
    assert_eq!(tree.roots().collect::<Vec<_>>(), [6]);
    assert_eq!(tree.root(), Some(6));
    assert_eq!(tree.depth_first().count(), 7);
}

#[test]
fn a_trace_without_spans_has_nothing() {
    let trace = trace(Vec::new());
    let tree = TraceTree::new(&trace);
    assert_eq!(tree.root(), None);
    assert!(tree.critical_path(0).is_empty());
    assert_eq!(tree.self_nanos(0), 0);
}

#[test]
fn a_hundred_thousand_spans_below_each_other_are_no_problem() {
    let depth = 100_000_u64;
    let spans = (0..depth).map(|index| {
        let parent = index.checked_sub(1).map(|parent| parent.to_string());
        let times = (index, 2 * depth - index);
        let parent = parent.unwrap_or_default();
        span(&index.to_string(), &parent, "deep", Internal, times)
    });
    let trace = trace(spans.collect());
    let tree = TraceTree::new(&trace);
    assert_eq!(tree.depth_first().count(), 100_000);
    assert_eq!(tree.ancestors(99_999).count(), 99_999);
    assert_eq!(tree.critical_path(0).len(), 199_999);
    assert_eq!(tree.entries().last(), Some(&0));
    assert_eq!(tree.self_nanos(0), 2);
}

/// Spans of any parents and times; the parents may be missing, or go in circles.
fn any_trace() -> impl Strategy<Value = Trace> {
    let any_span = (
        0..14_usize,
        0..100_u64,
        0..60_u64,
        0..6_u64,
        0..3_usize,
        any::<bool>(),
    );
    prop::collection::vec(any_span, 1..12).prop_map(|spans| {
        let spans = spans.into_iter().enumerate().map(|(index, parts)| {
            let (parent, start, nanos, kind, service, has_failed) = parts;
            let parent = if parent == 13 {
                String::new()
            } else {
                parent.to_string()
            };
            let made = span(
                &index.to_string(),
                &parent,
                ["a", "b", "c"][service],
                SpanKind::from_otlp(kind),
                (start, start + nanos),
            );
            if has_failed { failed(made) } else { made }
        });
        trace(spans.collect())
    })
}

/// Spans that lie one after the other within their parents.
fn nested_trace() -> impl Strategy<Value = Trace> {
    prop::collection::vec((any::<prop::sample::Index>(), 1..1_000_u64), 1..20).prop_map(|parts| {
        // Each span takes its own time first, then that of its children, one after the other.
        let mut parents = Vec::new();
        for (index, (parent, _)) in parts.iter().enumerate() {
            parents.push(index.checked_sub(1).map(|last| parent.index(last + 1)));
        }
        let mut totals: Vec<u64> = parts.iter().map(|(_, own)| *own).collect();
        for (index, parent) in parents.iter().enumerate().rev() {
            if let Some(parent) = parent {
                totals[*parent] += totals[index];
            }
        }
        let mut next: Vec<u64> = Vec::new();
        let mut spans = Vec::new();
        for (index, parent) in parents.iter().enumerate() {
            let start = parent.map_or(1_000, |parent| next[parent]);
            if let Some(parent) = parent {
                next[*parent] += totals[index];
            }
            next.push(start + parts[index].1);
            let parent = parent.map(|parent| parent.to_string()).unwrap_or_default();
            let times = (start, start + totals[index]);
            spans.push(span(&index.to_string(), &parent, "a", Internal, times));
        }
        trace(spans)
    })
}

proptest! {
    #[test]
    fn property_the_critical_path_fills_the_span_without_gap_or_overlap(trace in any_trace()) {
        let tree = TraceTree::new(&trace);
        for (index, span) in trace.spans.iter().enumerate() {
            let mut at = span.start;
            for segment in tree.critical_path(index) {
                prop_assert_eq!(segment.start, at);
                prop_assert!(segment.start < segment.end);
                prop_assert!(tree.subtree(index).any(|below| below == segment.span));
                at = segment.end;
            }
            prop_assert_eq!(at, span.end);
        }
    }

    #[test]
    fn property_every_span_has_one_place(trace in any_trace()) {
        let tree = TraceTree::new(&trace);
        let mut walk: Vec<usize> = tree.depth_first().map(|(index, _)| index).collect();
        walk.sort_unstable();
        prop_assert!(walk.into_iter().eq(0..trace.spans.len()));
        for index in 0..trace.spans.len() {
            for child in tree.children(index) {
                prop_assert_eq!(tree.parent(*child), Some(index));
            }
        }
    }

    /// Nanosecond by nanosecond.
    #[test]
    fn property_self_time_is_that_of_a_naive_count(trace in any_trace()) {
        let tree = TraceTree::new(&trace);
        for (index, span) in trace.spans.iter().enumerate() {
            let children = tree.children(index).iter().filter(|child| tree.is_synchronous(**child));
            let children: Vec<&TraceSpan> = children.map(|child| &trace.spans[*child]).collect();
            let is_own = |at: &u64| !children.iter().any(|child| (child.start..child.end).contains(at));
            let own = (span.start..span.end).filter(is_own).count() as u64;
            prop_assert_eq!(tree.self_nanos(index), own);
        }
    }

    #[test]
    fn property_self_times_of_nested_spans_sum_to_the_root(trace in nested_trace()) {
        let tree = TraceTree::new(&trace);
        let own: u64 = (0..trace.spans.len()).map(|index| tree.self_nanos(index)).sum();
        prop_assert_eq!(own, trace.spans[0].duration_nanos());
        // Nothing runs side by side, so everything is waited for.
        let mut path = vec![0; trace.spans.len()];
        for segment in tree.critical_path(0) {
            path[segment.span] += segment.nanos();
        }
        prop_assert_eq!(path, self_times(&tree));
    }

    #[test]
    fn property_every_failure_has_an_origin_at_or_below_it(trace in any_trace()) {
        let tree = TraceTree::new(&trace);
        for index in (0..trace.spans.len()).filter(|index| tree.is_failed(*index)) {
            prop_assert!(tree.subtree(index).any(|below| tree.is_error_origin(below)));
        }
    }
}
