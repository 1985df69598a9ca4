//! Metrics as text: OpenMetrics 1.0, and the text format 0.0.4 of Prometheus.
//!
//! The two differ in little: in OpenMetrics the name of a counter's family lacks the `_total` of its
//! samples, units have lines of their own, and the last line is `# EOF`.
//!
//! Sources: OpenMetrics 1.0 (prometheus/OpenMetrics, specification), and "Exposition formats" of
//! Prometheus' documentation.

use std::fmt::{Display, Write};

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows; its name ends in `_total`.
    Counter,
    /// It goes up and down.
    Gauge,
}

impl Kind {
    /// Its word in both formats.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        }
    }
}

/// A text in the making.
pub struct Exposition {
    text: String,
    open_metrics: bool,
    /// The metric that samples belong to.
    name: &'static str,
}

impl Exposition {
    /// An empty text, of OpenMetrics or else of Prometheus.
    pub fn new(open_metrics: bool) -> Exposition {
        Exposition { text: String::new(), open_metrics, name: "" }
    }

    /// Begins a metric. `help` has neither a line break nor a backslash.
    pub fn begin(&mut self, name: &'static str, kind: Kind, help: &str) {
        self.name = name;
        let family = match name.strip_suffix("_total") {
            Some(family) if self.open_metrics => family,
            _ => name,
        };
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(self.text, "# HELP {family} {help}");
        let _ = writeln!(self.text, "# TYPE {family} {}", kind.word());
        if self.open_metrics
            && let Some(unit) = ["bytes", "seconds"].iter().find(|unit| family.ends_with(*unit))
        {
            let _ = writeln!(self.text, "# UNIT {family} {unit}");
        }
    }

    /// A sample of the metric begun last. The values of the labels are words of this program, which
    /// need no escapes.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(self.name);
        for (index, (label, word)) in labels.iter().enumerate() {
            debug_assert!(!word.contains(['"', '\\', '\n']), "{label}={word} needs escapes");
            let _ = write!(self.text, "{}{label}=\"{word}\"", if index == 0 { '{' } else { ',' });
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{end} {value}");
    }

    /// The text.
    pub fn finish(mut self) -> String {
        if self.open_metrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(open_metrics: bool) -> String {
        let mut text = Exposition::new(open_metrics);
        text.begin("a_bytes_total", Kind::Counter, "Bytes.");
        text.sample(&[("direction", "up"), ("x", "y")], 17);
        text.begin("b", Kind::Gauge, "Something.");
        text.sample(&[], 1.5);
        text.finish()
    }

    #[test]
    fn the_two_formats_differ_in_family_unit_and_end() {
        assert_eq!(
            example(true),
            "# HELP a_bytes Bytes.\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\n\
             a_bytes_total{direction=\"up\",x=\"y\"} 17\n\
             # HELP b Something.\n# TYPE b gauge\nb 1.5\n# EOF\n"
        );
        assert_eq!(
            example(false),
            "# HELP a_bytes_total Bytes.\n# TYPE a_bytes_total counter\n\
             a_bytes_total{direction=\"up\",x=\"y\"} 17\n\
             # HELP b Something.\n# TYPE b gauge\nb 1.5\n"
        );
    }
}
