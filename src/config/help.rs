//! The end of `--help`, after the flags.

/// Units, signals, files, environment and exit codes. Each line fits into 80 columns.
pub const AFTER_FLAGS: &str = "
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
    0  after a clean stop, -t, -V, -h, and -e unless it says no: also when it
       depends on the addresses of a name
    1  after an error at run time, in the rules or in the users
    2  after a wrong command line, or question of -e
    3  when -e says no
";
