//! Runs the program itself on loopback. Everything has a deadline, and nothing sleeps for a fixed
//! time in the hope that it is enough.

#![allow(dead_code, reason = "each test program uses a part")]

pub mod machine;
pub mod namespace;
pub mod servers;
pub mod socks5;
pub mod stalled;
pub mod tools;
pub mod traffic;
#[cfg(feature = "server")]
pub mod turns;
pub mod upgrade;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than any successful operation takes, even on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// Permits everything.
pub const PERMIT_ALL: &str = "permit cb *.*.*.*\n";
/// The relay modes, as flags: all must behave the same.
pub const MODES: &[&[&str]] = &[&["--splice", "auto"], &["--splice", "off"]];
/// Most descriptors of the spare pipes that the proxy keeps.
const SPARE_PIPE_ENDS: usize = 8;

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
}

/// The running program; killed when dropped.
pub struct Proxy {
    child: Child,
    /// The first address that it listens on.
    pub address: SocketAddrV4,
    /// Its rule file.
    pub rule_file: PathBuf,
    log: Arc<Log>,
    descriptors_at_start: (usize, usize),
}

/// An empty directory that no other test uses.
pub fn scratch_directory() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("test-{}-{count}", std::process::id());
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// The program with these arguments, in an empty directory, logging everything.
pub fn socku(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_socku"));
    command.args(arguments).env("RUST_LOG", "debug").stdin(Stdio::null());
    command
}

impl Proxy {
    /// Starts the program on a free port of 127.0.0.1 with these rules and flags, and waits until
    /// it listens.
    pub fn start(rules: &str, flags: &[&str]) -> Proxy {
        Proxy::start_by(socku(flags), rules, flags)
    }

    /// The same with at most so many descriptors from the start. Needs prlimit.
    pub fn start_limited(descriptors: u32, rules: &str, flags: &[&str]) -> Proxy {
        let program = socku(flags);
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={descriptors}:{descriptors}")).arg(program.get_program());
        command.args(program.get_args());
        let variables = program.get_envs();
        command.envs(variables.filter_map(|(name, value)| Some((name, value?))));
        Proxy::start_by(command, rules, flags)
    }

    /// Runs this command, which has the flags already, with these rules and defaults for tests.
    pub fn start_by(mut command: Command, rules: &str, flags: &[&str]) -> Proxy {
        let rule_file = scratch_directory().join("socks.conf");
        fs::write(&rule_file, rules).unwrap();
        command.arg("-c").arg(&rule_file);
        if !flags.iter().any(|flag| matches!(*flag, "-l" | "--listen")) {
            command.args(["-l", "127.0.0.1:0"]);
        }
        if !flags.contains(&"--nameserver") {
            // No test may query a name server of the machine.
            command.args(["--nameserver", &machine::CLOSED.to_string()]);
        }
        Proxy::spawn(command, rule_file)
    }

    /// Runs this command, which must start the program with `rule_file`.
    pub fn spawn(command: Command, rule_file: PathBuf) -> Proxy {
        let (reader, stderr) = std::io::pipe().unwrap();
        Proxy::spawn_with(command, rule_file, stderr, reader)
    }

    /// The same with this standard error, and the end that it is read from.
    pub fn spawn_with(
        mut command: Command,
        rule_file: PathBuf,
        stderr: impl Into<Stdio>,
        reader: impl Read + Send + 'static,
    ) -> Proxy {
        let child = command.stderr(stderr).spawn().unwrap();
        // It has the writing end, which would keep the log from ending.
        drop(command);
        let log = Arc::new(Log::default());
        let shared = log.clone();
        thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                shared.lines.lock().unwrap().push(line);
                shared.grown.notify_all();
            }
        });
        let address = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        let mut proxy = Proxy { child, address, rule_file, log, descriptors_at_start: (0, 0) };
        let line = proxy.wait_log("listening on ");
        // In JSON the text ends with the object.
        proxy.address = line.rsplit(' ').next().unwrap().trim_end_matches("\"}").parse().unwrap();
        proxy.descriptors_at_start = proxy.descriptors_by_kind();
        proxy
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal by name: HUP, TERM, INT, USR1, ...
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Stops it until [`Proxy::resume`], so that it finds everything done in between at once.
    /// Returns when it has stopped: a signal takes a moment to arrive.
    pub fn pause(&self) {
        self.signal("STOP");
        let stat = format!("/proc/{}/stat", self.pid());
        wait_until("the stop", || fs::read_to_string(&stat).ok().filter(|s| s.contains(") T ")));
    }

    /// Lets it continue after [`Proxy::pause`].
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// All log lines so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lines.lock().unwrap().clone()
    }

    /// Waits for a log line that contains `text`; the first such line.
    pub fn wait_log(&self, text: &str) -> String {
        self.wait_logs(text, 1).remove(0)
    }

    /// Waits until `count` log lines contain `text`; these lines.
    pub fn wait_logs(&self, text: &str, count: usize) -> Vec<String> {
        let until = Instant::now() + DEADLINE;
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            let found: Vec<_> = lines.iter().filter(|line| line.contains(text)).cloned().collect();
            if found.len() >= count {
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let all = lines.join("\n");
                // Not while the lock is held: the next thread to take it would panic as well, and a
                // panic in `drop` ends all tests and leaves their proxies running.
                drop(lines);
                panic!("{count} x {text:?} expected in the log:\n{all}");
            }
            lines = self.log.grown.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Waits for the access line of a session, counted from 1.
    pub fn access(&self, id: u64) -> Access {
        Access(self.wait_log(&format!(" access] id={id} ")))
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Waits until the proxy is as it was at the start: no session, no buffer or pipe lent, and as
    /// many descriptors, except for spare pipes. Called at the end of every test that has closed
    /// all its connections.
    pub fn wait_idle(&mut self) {
        let (others_at_start, pipe_ends_at_start) = self.descriptors_at_start;
        wait_until("the descriptors to be closed", || {
            assert!(self.is_running(), "the program has ended");
            let (others, pipe_ends) = self.descriptors_by_kind();
            let is_spare = pipe_ends <= pipe_ends_at_start + SPARE_PIPE_ENDS;
            (others == others_at_start && is_spare).then_some(())
        });
        // Clients that were still waiting to be accepted have no descriptor until they are.
        let dump = wait_until("the sessions to end", || {
            Some(self.dump()).filter(|dump| dump.contains(" sessions=0 "))
        });
        for gone in [" small-buffers=0 ", " large-buffers=0 ", " pipes=0 "] {
            assert!(dump.contains(gone), "{gone:?} in {dump}");
        }
    }

    /// How many open descriptors are not pipes, and how many are.
    fn descriptors_by_kind(&self) -> (usize, usize) {
        let directory = fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap();
        let kinds = directory.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let (pipes, others): (Vec<_>, Vec<_>) =
            kinds.partition(|kind| kind.to_string_lossy().starts_with("pipe:"));
        (others.len(), pipes.len())
    }

    /// Requests its counters; returns their line.
    pub fn dump(&self) -> String {
        let before = self.log().iter().filter(|line| line.contains(" dump] sessions=")).count();
        self.signal("USR1");
        self.wait_logs(" dump] sessions=", before + 1).pop().unwrap()
    }

    /// Its resident memory in bytes.
    pub fn resident_bytes(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
    }

    /// Its CPU time in clock ticks (user and system).
    pub fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// How often its loop was woken or interrupted, and whether it sleeps.
    pub fn wakeups(&self) -> Vec<String> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let is_wanted = |line: &&str| line.starts_with("State:") || line.contains("ctxt_switches");
        status.lines().filter(is_wanted).map(String::from).collect()
    }

    /// Waits until it has finished all its work and sleeps.
    pub fn wait_asleep(&self) {
        let mut before = Vec::new();
        wait_until("the loop to sleep", || {
            // Longer than the kernel delays an acknowledgement, which may wake it once more.
            thread::sleep(Duration::from_millis(50));
            let now = self.wakeups();
            let is_same = std::mem::replace(&mut before, now) == *before;
            (is_same && before[0].contains("S (sleeping)")).then_some(())
        });
    }

    /// How many milliseconds it has waited for a processor: a busy machine may have added that much
    /// to each time that it reports.
    pub fn kept_waiting_ms(&self) -> u64 {
        machine::kept_waiting(&self.pid().to_string()).as_millis() as u64
    }

    /// Waits until it has ended; returns its exit code.
    pub fn wait_exit(&mut self) -> Option<i32> {
        wait_until("the program to end", || self.child.try_wait().unwrap()).code()
    }

    /// Whether it is still running.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// A connection to it.
    pub fn dial(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        with_deadline(stream)
    }

    /// A connection to it from another loopback address.
    pub fn dial_from(&self, source: Ipv4Addr) -> TcpStream {
        dial_from(source, self.address)
    }

    /// Sends these bytes; returns the reply, after which the connection must end in order.
    pub fn refusal(&self, bytes: &[u8]) -> (u8, SocketAddrV4) {
        let mut stream = self.dial();
        stream.write_all(bytes).unwrap();
        let reply = read_reply(&mut stream);
        assert_eq!(read_all(&mut stream), b"", "bytes after a refusal");
        reply
    }

    /// Sends a CONNECT that must be granted; returns the connection to the target.
    pub fn connect(&self, target: SocketAddrV4) -> TcpStream {
        let mut stream = self.dial();
        stream.write_all(&request(1, target, b"")).unwrap();
        assert_eq!(read_reply(&mut stream).0, 90);
        stream
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let panicked = self.log().into_iter().find(|line| line.contains("panicked"));
        if let Some(line) = panicked
            && !thread::panicking()
        {
            panic!("{line}");
        }
    }
}

/// An access line.
#[derive(Debug)]
pub struct Access(pub String);

impl Access {
    /// The value of a field; quotes around it are dropped.
    pub fn field(&self, name: &str) -> &str {
        let start = self.0.find(&format!(" {name}=")).unwrap_or_else(|| panic!("{name}: {self:?}"));
        let value = self.0[start + name.len() + 2..].split(' ').next().unwrap();
        value.trim_matches('"')
    }
}

/// A connection from a loopback address.
pub fn dial_from(source: Ipv4Addr, to: SocketAddrV4) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddrV4::new(source, 0).into()).unwrap();
    socket.connect_timeout(&to.into(), DEADLINE).unwrap();
    with_deadline(socket.into())
}

/// Gives a stream the deadline for reading and writing.
pub fn with_deadline(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Calls `condition` until it returns a value.
pub fn wait_until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < until, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The bytes of a SOCKS4 request, built octet by octet so that program and test do not share a
/// mistake. `command` is 1 for CONNECT, 2 for BIND.
pub fn request(command: u8, target: SocketAddrV4, user: &[u8]) -> Vec<u8> {
    let mut bytes = vec![4, command];
    bytes.extend(target.port().to_be_bytes());
    bytes.extend(target.ip().octets());
    bytes.extend(user);
    bytes.push(0);
    bytes
}

/// The bytes of a SOCKS4A request.
pub fn request_4a(command: u8, name: &[u8], port: u16, user: &[u8]) -> Vec<u8> {
    let marker = SocketAddrV4::new(Ipv4Addr::new(0, 0, 0, 1), port);
    let mut bytes = request(command, marker, user);
    bytes.extend(name);
    bytes.push(0);
    bytes
}

/// Reads a reply: code and address.
pub fn read_reply(stream: &mut TcpStream) -> (u8, SocketAddrV4) {
    let mut reply = [0; 8];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(reply[0], 0, "VN of a reply");
    let port = u16::from_be_bytes([reply[2], reply[3]]);
    let address = Ipv4Addr::new(reply[4], reply[5], reply[6], reply[7]);
    (reply[1], SocketAddrV4::new(address, port))
}

/// Reads to the end, which must be a FIN.
pub fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Closes with a reset.
pub fn reset(stream: TcpStream) {
    let socket = socket2::Socket::from(stream);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

/// A listener on a free port of 127.0.0.1, and its address.
pub fn listener() -> (TcpListener, SocketAddrV4) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = match listener.local_addr().unwrap() {
        std::net::SocketAddr::V4(address) => address,
        std::net::SocketAddr::V6(_) => unreachable!(),
    };
    (listener, address)
}

/// Accepts one connection.
pub fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let stream = wait_until("a connection", || listener.accept().ok()).0;
    stream.set_nonblocking(false).unwrap();
    with_deadline(stream)
}

/// A server that echoes everything until FIN, on a thread per connection.
pub fn echo_server() -> SocketAddrV4 {
    let (listener, address) = listener();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut reader = stream.try_clone().unwrap();
                let _ = std::io::copy(&mut reader, &mut &stream);
                let _ = stream.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    address
}
