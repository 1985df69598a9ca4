//! What a build without optional parts does where they would act. The refusal of their flags is in
//! `tests/parts.rs`.

#![cfg(all(feature = "server", not(all(feature = "upgrade", feature = "service"))))]

mod common;

#[cfg(not(feature = "upgrade"))]
mod upgrade {
    use super::common::traffic::ping;
    use super::common::{PERMIT_ALL, Proxy, echo_server, scratch_directory, socku};
    use std::fs;
    use std::process::Stdio;

    #[test]
    fn usr2_is_a_warning_and_sessions_go_on() {
        let mut proxy = Proxy::start(PERMIT_ALL, &[]);
        let (pid, session) = (proxy.pid(), proxy.connect(echo_server()));
        for count in 1..3 {
            proxy.signal("USR2");
            let warning = "] USR2: this socku was built without the feature `upgrade`";
            let lines = proxy.wait_logs(warning, count);
            assert!(lines.iter().all(|line| line.contains("WARN")), "{lines:?}");
            ping(&session);
        }
        assert!(proxy.is_running() && proxy.pid() == pid);
        drop(session);
        proxy.signal("TERM");
        assert_eq!(proxy.wait_exit(), Some(0));
    }

    /// A program with the part does not become this one.
    #[test]
    fn a_trial_is_refused_with_the_reason() {
        let rules = scratch_directory().join("socks.conf");
        fs::write(&rules, PERMIT_ALL).unwrap();
        let mut command = socku(&["-c"]);
        command.arg(rules).arg("--upgrade-trial=3").stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let expected = "socku: taking over: this socku was built without the feature `upgrade`\n";
        assert_eq!((output.status.code(), said.as_str()), (Some(1), expected));
        assert!(output.stdout.is_empty());
    }
}

#[cfg(not(feature = "service"))]
mod service {
    use super::common::{PERMIT_ALL, Proxy, listener, scratch_directory, socku};
    use std::fs::{self, File};
    use std::io::{ErrorKind, Read, Seek};
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixDatagram;
    use std::process::{Command, Stdio};

    #[test]
    fn a_service_manager_is_not_notified_and_the_log_says_so() {
        let directory = scratch_directory();
        let (rules, notify) = (directory.join("socks.conf"), directory.join("notify"));
        fs::write(&rules, PERMIT_ALL).unwrap();
        let manager = UnixDatagram::bind(&notify).unwrap();
        manager.set_nonblocking(true).unwrap();
        let mut command = socku(&["-l", "127.0.0.1:0", "-c"]);
        command.arg(&rules).env("NOTIFY_SOCKET", &notify).env("RUST_LOG", "info");
        let proxy = Proxy::spawn(command, rules);
        let warning = "NOTIFY_SOCKET: this socku was built without the feature `service`";
        assert!(proxy.wait_log(warning).contains("WARN"));
        proxy.signal("HUP");
        proxy.wait_log("1 rule in force");
        assert_eq!(manager.recv(&mut [0; 64]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn sockets_of_a_service_manager_are_an_error_because_nobody_would_accept_their_clients() {
        let rules = scratch_directory().join("socks.conf");
        fs::write(&rules, PERMIT_ALL).unwrap();
        let script = "export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" \"$@\" 3<&0 </dev/null";
        let program = socku(&["-c", rules.to_str().unwrap()]);
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(program.get_program()).args(program.get_args());
        command.stdin(std::os::fd::OwnedFd::from(listener().0));
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("LISTEN_FDS: this socku was built without the feature"), "{said}");
    }

    #[test]
    fn lines_have_no_priority_for_the_journal() {
        let path = scratch_directory().join("log");
        let mut log = File::options().create(true).append(true).read(true).open(path).unwrap();
        let metadata = log.metadata().unwrap();
        let mut command = socku(&["-c", "/nonexistent"]);
        command.env("JOURNAL_STREAM", format!("{}:{}", metadata.dev(), metadata.ino()));
        command.stdin(Stdio::null()).stderr(log.try_clone().unwrap());
        assert_eq!(command.status().unwrap().code(), Some(1));
        log.rewind().unwrap();
        let mut text = String::new();
        log.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("socku: /nonexistent"), "{text}");
    }
}
