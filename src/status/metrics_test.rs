use super::*;
use crate::limit::Limit;
use crate::reason::CloseReason;
use crate::stats::Stats;
use crate::status::view::{Process, Usage};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const PAGE: &str = include_str!("../../docs/metrics.md");

fn view<'a>(stats: &'a Stats, none: &'a VecDeque<crate::status::refusal::Refusal>) -> View<'a> {
    View {
        now: 0,
        uptime_ms: 0,
        version: "1.2.3",
        stats,
        sessions: Box::new(std::iter::empty()),
        session_count: 0,
        recent_refusals: none,
        usage: Usage { large_buffer_bytes: 65536, ..Usage::default() },
        process: Process {
            started_unix_ms: 1_700_000_000_123,
            resident_bytes: Some(4096),
            cpu_ms: Some(20),
            descriptors: Some(9),
            ..Process::default()
        },
        draining: false,
    }
}

fn rendered(open_metrics: bool) -> String {
    text(&view(&Stats::default(), &VecDeque::new()), open_metrics)
}

/// The samples of a text: name and labels.
fn samples(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap().0).collect()
}

#[test]
fn names_follow_the_conventions_and_no_sample_comes_twice() {
    let mut names = BTreeSet::new();
    for metric in METRICS {
        let Metric { name, kind, help, .. } = metric;
        assert!(names.insert(name), "{name} twice");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        assert!(name.starts_with("socku_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        assert!(help.ends_with('.') && !help.contains(['\n', '\\']), "{name}: {help}");
    }
    let text = rendered(true);
    let found = samples(&text);
    let distinct: BTreeSet<_> = found.iter().collect();
    assert_eq!(distinct.len(), found.len());
}

#[test]
fn every_state_and_reason_is_there_from_the_start() {
    let text = rendered(false);
    for reason in CloseReason::ALL {
        let line = format!("\nsocku_sessions_ended_total{{reason=\"{reason}\"}} 0\n");
        assert!(text.contains(&line), "{line}");
    }
    for state in StateKind::OPEN {
        let line = format!("\nsocku_sessions{{state=\"{}\"}} 0\n", state.word());
        assert!(text.contains(&line), "{line}");
    }
    for line in [
        "\nsocku_requests_total{protocol=\"4a\",command=\"bind\"} 0\n",
        "\nsocku_limit{limit=\"per-source\"} +Inf\n",
        "\nsocku_build_info{version=\"1.2.3\"} 1\n",
        "\nprocess_start_time_seconds 1700000000.123\n",
        "\nprocess_cpu_seconds_total 0.02\n",
    ] {
        assert!(text.contains(line), "{line}");
    }
}

#[test]
fn every_metric_has_a_sample_and_both_formats_have_the_same() {
    let (open, plain) = (rendered(true), rendered(false));
    assert_eq!(samples(&open), samples(&plain));
    assert!(open.ends_with("\n# EOF\n") && !plain.contains("EOF"));
    for metric in METRICS {
        let of = |sample: &&str| sample.split('{').next() == Some(metric.name);
        assert!(samples(&open).iter().any(of), "{}", metric.name);
    }
}

/// The rows of the page: name, kind, labels, meaning.
fn rows() -> BTreeMap<&'static str, (&'static str, &'static str, &'static str)> {
    let rows = PAGE.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.trim_end_matches('`');
        let kind = cells.next()?.trim();
        let labels = cells.next()?.trim();
        let meaning = cells.next()?.trim_end_matches('|').trim();
        Some((name, (kind, labels, meaning)))
    });
    rows.collect()
}

#[test]
fn the_page_lists_each_metric_with_its_labels_and_meaning() {
    let rows = rows();
    let text = rendered(true);
    for Metric { name, kind, help, .. } in METRICS {
        let found = rows.get(name).unwrap_or_else(|| panic!("docs/metrics.md lacks {name}"));
        let sample = samples(&text).into_iter().find(|one| one.split('{').next() == Some(name));
        let labels: Vec<&str> = sample
            .and_then(|one| one.split_once('{'))
            .map(|(_, labels)| labels.split(',').map(|one| one.split('=').next().unwrap()))
            .into_iter()
            .flatten()
            .collect();
        let labels = labels.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", ");
        assert_eq!(*found, (kind.word(), labels.as_str(), *help), "docs/metrics.md: {name}");
    }
    for limit in Limit::ALL {
        for name in ["socku_limit", "socku_limit_reached_total"] {
            let sample = format!("{name}{{limit=\"{limit}\"}}");
            assert!(text.lines().any(|line| line.starts_with(&sample)), "no {sample}");
        }
        assert!(PAGE.contains(&format!("`{limit}`")), "docs/metrics.md lacks {limit}");
    }
    let known: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
    let unknown: Vec<_> = rows.keys().filter(|name| !known.contains(*name)).collect();
    assert!(unknown.is_empty(), "docs/metrics.md has {unknown:?}");
}

#[test]
fn the_page_lists_the_reasons_that_are_failures() {
    let (_, rest) = PAGE.split_once("```promql\n").unwrap();
    let listed = rest.split('"').nth(1).unwrap();
    let failures = CloseReason::ALL.iter().filter(|reason| reason.is_failure());
    let words: Vec<_> = failures.map(|reason| reason.word()).collect();
    assert_eq!(listed, words.join("|"), "docs/metrics.md");
    for word in words {
        assert!(include_str!("../../docs/status.md").contains(&format!("`{word}`")), "{word}");
    }
}

#[test]
fn the_alerts_of_the_page_use_metrics_and_words_that_exist() {
    let text = rendered(false);
    let (_, alerts) = PAGE.split_once("## Alerts\n\n```yaml").unwrap();
    let alerts = alerts.split("```").next().unwrap();
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = alerts.split(|c| !is_part(c));
    let named = words.filter(|word| word.starts_with("socku_") || word.starts_with("process_"));
    let mut count = 0;
    for name in named {
        assert!(METRICS.iter().any(|metric| metric.name == name), "{name}");
        count += 1;
    }
    assert!(count >= 5, "{count} metrics in alerts");
    for selector in alerts.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
        for pair in selector.split(',') {
            let Some((label, values)) = pair.split_once("=~\"").or(pair.split_once("=\"")) else {
                continue;
            };
            for value in values.trim_end_matches('"').split('|') {
                assert!(text.contains(&format!("{label}=\"{value}\"")), "{pair}");
            }
        }
    }
}
