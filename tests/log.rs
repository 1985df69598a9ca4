//! The log and its reader: a slow, late, stalled or missing reader never blocks the proxy, and a
//! prompt one gets every line.

#![cfg(feature = "server")]

mod common;

use common::machine::{own_address, sessions};
use common::tools::can_run;
use common::{
    DEADLINE, PERMIT_ALL, echo_server, read_all, read_reply, request, scratch_directory, socku,
    wait_until, with_deadline,
};
use rustix::io::ioctl_fionread;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use socku::internals::config::built_without;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// The user of every request, to make long lines.
const USER: [u8; 80] = [b'u'; 80];
/// The port that the proxy listens on.
const PORT: u16 = 1080;
/// The smallest pipe.
const SMALL_PIPE_BYTES: usize = 4096;

/// The program with its own standard error.
struct Logged {
    child: Child,
    address: SocketAddrV4,
}

/// The kinds of standard error.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Pipe,
    /// A pipe that the program cannot open again, since there is no /proc.
    PipeWithoutProc,
    /// A socket with the smallest possible buffer.
    Socket,
    Terminal,
}

impl Kind {
    /// The kinds that can be tried on this machine.
    fn all() -> Vec<Kind> {
        let mut kinds = vec![Kind::Pipe, Kind::Socket, Kind::Terminal];
        kinds.extend(can_run(&["unshare", "mount"]).then_some(Kind::PipeWithoutProc));
        kinds
    }

    /// The reader's end, and standard error.
    fn open(self) -> (File, OwnedFd) {
        match self {
            Kind::Pipe | Kind::PipeWithoutProc => {
                let (reader, writer) = std::io::pipe().unwrap();
                (OwnedFd::from(reader).into(), writer.into())
            }
            Kind::Socket => {
                let (reader, writer) = UnixStream::pair().unwrap();
                socket2::SockRef::from(&writer).set_send_buffer_size(1).unwrap();
                (OwnedFd::from(reader).into(), writer.into())
            }
            Kind::Terminal => {
                let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
                let reader = openpt(flags).unwrap();
                unlockpt(&reader).unwrap();
                let terminal = ioctl_tiocgptpeer(&reader, flags).unwrap();
                (reader.into(), terminal)
            }
        }
    }
}

impl Logged {
    /// Starts the program with this standard error, from which its address may be unreadable. Its
    /// first session has ended when this returns.
    fn start(stderr: impl Into<Stdio>, flags: &[&str]) -> Logged {
        Logged::run(socku(&[]), stderr, flags)
    }

    /// Starts the program with this kind of standard error; returns the reader's end.
    fn start_with(kind: Kind, flags: &[&str]) -> (Logged, File) {
        let (reader, stderr) = kind.open();
        let command = match kind {
            Kind::PipeWithoutProc => {
                let mut command = Command::new("unshare");
                let script = "mount -t tmpfs none /proc && exec \"$@\"";
                command.args(["-m", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_socku")]);
                command
            }
            _ => socku(&[]),
        };
        (Logged::run(command, stderr, flags), reader)
    }

    fn run(mut command: Command, stderr: impl Into<Stdio>, flags: &[&str]) -> Logged {
        let rules = scratch_directory().join("socks.conf");
        fs::write(&rules, PERMIT_ALL).unwrap();
        // The chosen port may be unreadable from its log.
        static STARTED: AtomicU8 = AtomicU8::new(0);
        let address = own_address(STARTED.fetch_add(1, Ordering::Relaxed));
        let address = SocketAddrV4::new(address, PORT);
        command.args(["--nameserver", "127.0.0.1:1", "-l", &address.to_string()]);
        command.args(flags).arg("-c").arg(rules).env("RUST_LOG", "info,access=debug");
        let child = command.stderr(stderr).spawn().unwrap();
        let logged = Logged { child, address };
        let first = wait_until("the program to listen", || TcpStream::connect(address).ok());
        first.shutdown(Shutdown::Write).unwrap();
        assert!(read_all(&mut with_deadline(first)).is_empty());
        logged
    }

    /// Relays a few bytes in this many sessions, one after another.
    fn serve(&self, sessions: usize) {
        let echo = echo_server();
        for _ in 0..sessions {
            let mut stream = with_deadline(TcpStream::connect(self.address).unwrap());
            stream.write_all(&request(1, echo, &USER)).unwrap();
            assert_eq!(read_reply(&mut stream).0, 90);
            stream.write_all(b"relayed").unwrap();
            let mut back = [0; 7];
            stream.read_exact(&mut back).unwrap();
            assert_eq!(&back, b"relayed");
        }
    }

    /// Opens sessions that have no request yet.
    fn open(&self, count: usize) -> Vec<TcpStream> {
        let open = (0..count).map(|_| TcpStream::connect(self.address).unwrap()).collect();
        self.wait_for_sessions(count);
        open
    }

    /// Opens sessions that wait for the peer of a BIND, with two descriptors each.
    fn open_binds(&self, count: usize) -> Vec<TcpStream> {
        let open_one = |_| {
            let mut stream = with_deadline(TcpStream::connect(self.address).unwrap());
            stream.write_all(&request(2, self.address, &USER)).unwrap();
            assert_eq!(read_reply(&mut stream).0, 90);
            stream
        };
        (0..count).map(open_one).collect()
    }

    /// Waits until the program has this many connections.
    fn wait_for_sessions(&self, count: usize) {
        let directory = format!("/proc/{}/fd", self.child.id());
        let stderr = fs::read_link(format!("{directory}/2")).unwrap();
        wait_until("the sessions", || {
            let entries = fs::read_dir(&directory).unwrap();
            let links = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
            let is_socket = |link: &PathBuf| link.to_string_lossy().starts_with("socket:");
            let sockets = links.filter(|link| is_socket(link) && *link != stderr).count();
            // Two for signals, and the listener.
            (sockets.saturating_sub(3) == count).then_some(())
        });
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits until nothing more fits into the log and the program sleeps.
    fn wait_until_log_is_full(&self, log: &File) {
        let stat = format!("/proc/{}/stat", self.child.id());
        let mut before = 0;
        wait_until("the log to be full", || {
            let bytes = ioctl_fionread(log).unwrap();
            let is_asleep = fs::read_to_string(&stat).unwrap().contains(") S ");
            let is_still = std::mem::replace(&mut before, bytes) == bytes;
            (bytes > 0 && is_asleep && is_still).then_some(())
        });
    }

    /// The exit code, once the program has ended.
    fn wait_exit(&mut self) -> Option<i32> {
        wait_until("the end", || self.child.try_wait().unwrap()).code()
    }

    /// Stops the program, which has no sessions; returns the exit code.
    fn stop(&mut self) -> Option<i32> {
        self.signal("TERM");
        self.wait_exit()
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a log to its end, from now on.
fn read(log: File) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        // The end of a terminal is an error.
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}

/// The lines up to one that contains `text`, none of which may be cut.
fn lines_until(lines: &Receiver<String>, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let Ok(line) = lines.recv_timeout(DEADLINE) else {
            panic!("no {text:?} in {} lines that end with {:?}", found.len(), found.last());
        };
        let is_whole = line.starts_with('[') && !line[1..].contains("[20");
        assert!(is_whole || dropped(&line).is_some(), "{line}");
        found.push(line);
        if found.last().unwrap().contains(text) {
            return found;
        }
    }
}

/// How many dropped lines a line reports.
fn dropped(line: &str) -> Option<usize> {
    let count = line.strip_prefix("socku: dropped ")?;
    count.strip_suffix(" log lines: the reader is too slow")?.parse().ok()
}

/// How often each session has a line with this target.
fn ids(lines: &[String], target: &str) -> HashMap<u64, usize> {
    let mut ids = HashMap::new();
    for (_, line) in lines.iter().filter_map(|line| line.split_once(&format!(" {target}] id="))) {
        *ids.entry(line.split(' ').next().unwrap().parse().unwrap()).or_default() += 1;
    }
    ids
}

/// Each of these sessions, once.
fn once(ids: impl Iterator<Item = u64>) -> HashMap<u64, usize> {
    ids.map(|id| (id, 1)).collect()
}

#[test]
fn a_dump_reaches_a_late_reader_whole_without_any_other_event() {
    for kind in Kind::all() {
        let (mut proxy, log) = Logged::start_with(kind, &["--max-sessions", "20000"]);
        let count = sessions(if matches!(kind, Kind::Pipe) { 10_000 } else { 1_000 });
        let open = proxy.open(count);
        proxy.signal("USR1");
        proxy.wait_until_log_is_full(&log);
        // The proxy is not blocked meanwhile. These sessions start after the dump and are not in
        // it.
        proxy.serve(10);
        proxy.wait_for_sessions(count);
        proxy.wait_until_log_is_full(&log);
        let last = count as u64 + 1;
        let lines = lines_until(&read(log), &format!(" dump] id={last} "));
        assert_eq!(ids(&lines, "dump"), once(2..=last), "{kind:?}");
        assert_eq!(ids(&lines, "access"), once((1..2).chain(last + 1..=last + 10)), "{kind:?}");
        drop(open);
        assert_eq!(proxy.stop(), Some(0));
    }
}

#[test]
fn sessions_that_end_during_a_dump_keep_their_access_lines_and_displace_no_others() {
    let half = sessions(2_000) / 2;
    let (proxy, log) = Logged::start_with(Kind::Pipe, &[]);
    let mut open = proxy.open(2 * half);
    proxy.signal("USR1");
    proxy.wait_until_log_is_full(&log);
    drop(open.split_off(half));
    proxy.wait_for_sessions(half);
    // Two more requests, which one dump answers.
    proxy.signal("USR1");
    proxy.signal("USR1");
    let lines = read(log);
    let (middle, last) = (half as u64 + 1, 2 * half as u64 + 1);
    let mut first = lines_until(&lines, &format!(" dump] sessions={} ", 2 * half));
    first.extend(lines_until(&lines, &format!(" dump] sessions={half} ")));
    let dumped = ids(&first, "dump");
    assert!((2..=middle).all(|id| dumped.get(&id) == Some(&1)), "{} dumped", dumped.len());
    assert_eq!(ids(&first, "access"), once((1..2).chain(middle + 1..=last)));
    let second = lines_until(&lines, &format!(" dump] id={middle} "));
    assert_eq!(ids(&second, "dump"), once(2..=middle));
    proxy.signal("TERM");
    let rest = lines_until(&lines, &format!("stopping; {half} sessions may finish"));
    assert!(!rest.iter().any(|line| line.contains(" dump] ")), "a third dump: {rest:?}");
}

#[test]
fn a_stop_of_thousands_of_sessions_loses_no_line_to_a_prompt_reader() {
    for (flags, is_stopped_twice) in [(&[][..], true), (&["--drain-timeout", "1"], false)] {
        let (mut proxy, log) = Logged::start_with(Kind::Pipe, flags);
        // The reader has to read many times.
        rustix::pipe::fcntl_setpipe_size(&log, SMALL_PIPE_BYTES).unwrap();
        let lines = read(log);
        let count = sessions(6_000) / 2;
        let open = proxy.open_binds(count);
        proxy.signal("TERM");
        let mut all = lines_until(&lines, "] stopping; ");
        if is_stopped_twice {
            proxy.signal("TERM");
        }
        all.extend(lines_until(&lines, "] stopped"));
        assert_eq!(ids(&all, "access"), once(1..=count as u64 + 1), "{flags:?}");
        assert_eq!(proxy.wait_exit(), Some(0));
        drop(open);
    }
}

#[test]
fn a_stop_waits_at_most_a_second_for_a_stalled_reader() {
    for kind in [Kind::Pipe, Kind::Terminal] {
        let (mut proxy, log) = Logged::start_with(kind, &[]);
        let open = proxy.open_binds(sessions(3_000) / 2);
        proxy.signal("TERM");
        wait_until("the program to stop accepting", || TcpStream::connect(proxy.address).err());
        let start = Instant::now();
        proxy.signal("TERM");
        assert_eq!(proxy.wait_exit(), Some(0), "{kind:?}");
        let took = start.elapsed();
        assert!(took < Duration::from_secs(8), "{kind:?}: {took:?}");
        drop((open, log));
    }
}

#[test]
fn a_fatal_error_ends_the_program_within_a_second_even_if_the_log_is_not_read() {
    let (mut log, mut full) = std::io::pipe().unwrap();
    let bytes = rustix::pipe::fcntl_getpipe_size(&full).unwrap();
    full.write_all(&vec![b'\n'; bytes]).unwrap();
    let mut child = socku(&["--wrong"]).stderr(full.try_clone().unwrap()).spawn().unwrap();
    let status = wait_until("the end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(2));
    // A reader that starts within that second gets the message.
    let mut child = socku(&["--wrong"]).stderr(full).spawn().unwrap();
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    assert!(text.trim_start().starts_with("socku: ") && text.contains("wrong"), "{text}");
    assert_eq!(child.wait().unwrap().code(), Some(2));
}

#[test]
fn a_stalled_reader_delays_no_session_and_finds_the_number_of_dropped_lines() {
    const SERVED: usize = 1_500;
    for kind in Kind::all() {
        let (mut proxy, log) = Logged::start_with(kind, &[]);
        proxy.serve(SERVED);
        proxy.wait_for_sessions(0);
        let lines = read(log);
        let mut all = lines_until(&lines, "socku: dropped ");
        proxy.signal("TERM");
        all.extend(lines_until(&lines, "] stopped"));
        assert_eq!(proxy.wait_exit(), Some(0));
        let lost: usize = all.iter().filter_map(|line| dropped(line)).sum();
        let reports = all.iter().filter(|line| dropped(line).is_some()).count();
        // What it starts with and lacks, listening, stopping, stopped, and the first session.
        let own = 5 + usize::from(built_without().is_some());
        assert_eq!(all.len() - reports + lost, SERVED + own, "{kind:?}: {reports} reports, {lost}");
    }
}

#[test]
fn a_reader_that_leaves_while_lines_wait_does_not_keep_the_proxy_busy() {
    for kind in Kind::all() {
        let (mut proxy, log) = Logged::start_with(kind, &[]);
        proxy.serve(600);
        proxy.wait_until_log_is_full(&log);
        drop(log);
        let stat = format!("/proc/{}/stat", proxy.child.id());
        let ticks = || -> u64 {
            let stat = fs::read_to_string(&stat).unwrap();
            let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
            fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
        };
        proxy.serve(20);
        proxy.wait_for_sessions(0);
        let before = ticks();
        thread::sleep(Duration::from_millis(300));
        assert!(ticks() - before <= 3, "{kind:?}: busy with a log that is not read");
        assert_eq!(proxy.stop(), Some(0), "{kind:?}");
    }
}

#[test]
fn a_log_without_a_reader_does_not_stop_relaying() {
    let mut proxy = Logged::start(Stdio::piped(), &[]);
    drop(proxy.child.stderr.take());
    proxy.serve(20);
    assert_eq!(proxy.stop(), Some(0));
}

#[test]
fn a_log_on_a_full_disk_does_not_stop_relaying() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut proxy = Logged::start(full, &[]);
    proxy.serve(20);
    assert_eq!(proxy.stop(), Some(0));
}

#[test]
fn a_log_file_gets_every_line_of_a_dump_after_its_old_content() {
    let path = scratch_directory().join("log");
    fs::write(&path, "[before]\n").unwrap();
    let file = File::options().append(true).open(&path).unwrap();
    let mut proxy = Logged::start(file, &[]);
    let count = sessions(2_000);
    let open = proxy.open(count);
    proxy.signal("USR1");
    let last = count as u64 + 1;
    let text = wait_until("the dump", || {
        Some(fs::read_to_string(&path).unwrap())
            .filter(|text| text.contains(&format!(" dump] id={last} ")))
    });
    let lines: Vec<String> = text.lines().map(String::from).collect();
    assert_eq!((ids(&lines, "dump"), lines[0].as_str()), (once(2..=last), "[before]"));
    drop(open);
    assert_eq!(proxy.stop(), Some(0));
    assert!(fs::read_to_string(&path).unwrap().trim_end().ends_with("] stopped"));
}

/// The system cuts off the line that does not fit, and sends SIGXFSZ.
#[test]
fn a_log_file_at_its_size_limit_ends_nothing_and_later_continues_with_a_whole_line() {
    if !can_run(&["prlimit"]) {
        return;
    }
    const SIZE_MAX: u64 = 4_000;
    let path = scratch_directory().join("log");
    let file = File::options().create(true).append(true).open(&path).unwrap();
    let mut proxy = Logged::start(file, &[]);
    let limit = |most: &str| {
        let (pid, size) = (proxy.child.id().to_string(), format!("--fsize={most}"));
        let status = Command::new("prlimit").args(["--pid", &pid, &size]).status().unwrap();
        assert!(status.success());
    };
    limit(&format!("{SIZE_MAX}:unlimited"));
    let before = fs::metadata(&path).unwrap().len();
    proxy.serve(30);
    proxy.wait_for_sessions(0);
    let cut = wait_until("the file to be full", || {
        Some(fs::read_to_string(&path).unwrap()).filter(|text| text.len() as u64 == SIZE_MAX)
    });
    assert!(before < SIZE_MAX && !cut.ends_with('\n'), "the last line is incomplete");
    limit("unlimited");
    proxy.serve(1);
    proxy.wait_for_sessions(0);
    assert_eq!(proxy.stop(), Some(0));
    let text = fs::read_to_string(&path).unwrap();
    let (_, after) = text.split_at(SIZE_MAX as usize);
    let (rest, lines) = after.split_once('\n').unwrap();
    assert_eq!(rest, "", "the cut line is not continued");
    assert!(
        lines.lines().count() >= 2 && lines.lines().all(|line| line.starts_with('[')),
        "{lines}"
    );
}
