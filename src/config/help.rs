//! The text of `--help`, which leaves out what this build lacks.

use super::parts;
use getopts::Options;

/// The help: the flags of these options, and what follows them.
pub fn help(options: &Options) -> String {
    options.usage_with_format(|flags| {
        let flags: Vec<String> = flags.filter(|row| !has_absent_flag(row)).collect();
        let after: String =
            AFTER_FLAGS.split_inclusive('\n').filter(|&line| !has_absent_signal(line)).collect();
        format!("Usage: socku [options]\n\nOptions:\n{}\n{after}", flags.join("\n"))
    })
}

/// Whether a row about a flag is about one of a part that this build lacks.
fn has_absent_flag(row: &str) -> bool {
    let mut names = row.split_whitespace().take(2).filter_map(|word| word.strip_prefix("--"));
    names.any(|name| parts::absent().any(|part| part.flags.contains(&name)))
}

/// Whether a line after the flags is about a signal of such a part.
fn has_absent_signal(line: &str) -> bool {
    let first = line.split_whitespace().next().unwrap_or_default();
    parts::absent().any(|part| part.signals.contains(&first))
}

/// Units, signals, files, environment and exit codes. Each line fits into 80 columns.
const AFTER_FLAGS: &str = "
Units: S is whole seconds, BYTES bytes, N a number of sessions, LOW-HIGH ports.

Signals:
    HUP        read rules, users, /etc/hosts and /etc/resolv.conf again
    TERM, INT  accept no more clients, and stop when the sessions have ended or
               --drain-timeout has passed; the second one stops at once
    USR1       write the counters and a line for each session to the log
    USR2       become the program that is now on disk; sessions go on

Files:
    ./socks.conf, /etc/socku/socks.conf
                      without --config the first of them that is there
    /etc/hosts        names that are known without a query
    /etc/resolv.conf  name servers and search list, without --nameserver

Environment:
    RUST_LOG   level of the log, for example debug or access=info,warn [info]

Exit codes:
    0  after a clean stop, -t, -V, -h, --health if the proxy answers, and -e
       unless it says no: also when it depends on the addresses of a name
    1  after an error at run time, in the rules or in the users, and --health
       if the proxy does not answer
    2  after a wrong command line, or query of -e
    3  when -e says no
";
