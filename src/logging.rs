//! The program's log. Lines are gathered over a turn of the loop and written together. A slow or
//! stalled reader never blocks the proxy.
//!
//! A busy proxy writes thousands of access lines a second; gathered, they cost one call a turn. At
//! level debug each line is written at once, so that it appears in its place in a trace. Lines for
//! which the reader has no room wait. While they do, the loop watches [`waiting`].

#[cfg_attr(not(feature = "json"), path = "logging/object/absent.rs")]
mod object;
mod output;
#[cfg_attr(not(feature = "timestamps"), path = "logging/stamp/absent.rs")]
mod stamp;
mod style;

use crate::settings::LogFormat;
use env_logger::{Builder, Target};
use log::{Level, LevelFilter};
use output::Output;
use rustix::io::Errno;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use style::Style;

/// Most bytes that wait for a slow reader: more than a turn that ends a thousand sessions logs.
/// Lines beyond are dropped, counted and reported.
const WAITING_BYTES_MAX: usize = 256 << 10;
/// A dump of all sessions continues while fewer bytes wait, which leaves the rest to other lines.
const DUMP_BYTES_MAX: usize = 16 << 10;
/// A pipe takes this many bytes whole or not at all (PIPE_BUF of Linux), and does not block on them
/// when it is writable.
const PIPE_BYTES: usize = 4096;
/// How long the program's end waits, in total, for a reader that makes no room.
const FINISH_WAIT_MAX: Duration = Duration::from_secs(1);

static LOG: Mutex<Log> = Mutex::new(Log::new());

thread_local! {
    /// The text of the record that is being written, kept for the next one.
    static TEXT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Logs to standard error in this format, at the levels that `RUST_LOG` selects; info and above if
/// it is unset or empty.
pub fn init(format: LogFormat) {
    let style = Style::of_stderr(format);
    log().style = Some(style);
    let target = Target::Pipe(Box::new(Gatherer));
    // Empty is what a unit file leaves of a variable that has no value.
    let filter = std::env::var("RUST_LOG").unwrap_or_default();
    let filter = if filter.is_empty() { "info" } else { &filter };
    Builder::new()
        .parse_filters(filter)
        .target(target)
        .format(move |line, record| {
            TEXT.with_borrow_mut(|text| {
                text.clear();
                write!(text, "{}", record.args()).map_err(io::Error::other)?;
                style.write(line, SystemTime::now(), record.level(), record.target(), text)
            })
        })
        .init();
    log().output();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // Not if the log itself has panicked.
        if let Ok(mut log) = LOG.try_lock() {
            log.finish();
        }
        hook(panic);
    }));
}

/// Writes the gathered lines, as far as possible without waiting.
pub fn flush() {
    log().flush();
}

/// The descriptor to watch while lines wait for the reader. Edges are enough, for it was full at
/// the last write: the next free page of a pipe is an edge, and if the reader was faster, epoll
/// reports that when the descriptor is registered.
pub fn waiting() -> Option<RawFd> {
    log().waiting()
}

/// What the log has done, for metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Bytes that wait for the reader.
    pub waiting_bytes: usize,
    /// Lines dropped because the reader was too slow.
    pub dropped: u64,
    /// Calls that wrote something.
    pub writes: u64,
}

/// What the log has done since the start.
pub fn counters() -> Counters {
    let log = log();
    Counters { waiting_bytes: log.bytes.len(), ..log.counters }
}

/// The bytes that still wait after a flush, and the descriptor that they are for if it is one of
/// our own: what another program needs to go on with this log (see [`resume`]). Both stay here.
pub fn unfinished() -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    log().unfinished()
}

/// Goes on with the log of the program that this process was, which has dropped so many lines.
pub fn resume(bytes: Vec<u8>, own: Option<OwnedFd>, dropped: u64) {
    let mut log = log();
    log.counters.dropped = dropped;
    log.bytes = bytes;
    log.output = own.map(Output::Own);
}

/// Whether a dump may continue, or has to wait for the reader.
pub fn has_room_for_dump() -> bool {
    log().bytes.len() < DUMP_BYTES_MAX
}

/// For the program's end, when no session is left to delay: from now on a line that finds no room
/// waits for the reader instead of being dropped, for a second in total.
pub fn hold_for_reader() {
    log().hold_for_reader();
}

/// Writes everything, if the reader makes room within a second.
pub fn finish() {
    log().finish();
}

/// Like `finish`, with a last line about the error that ends the program: `socku:` and the text,
/// whatever `RUST_LOG` says; an object once [`init`] has been called for JSON.
pub fn finish_with(text: &str) {
    let mut log = log();
    log.hold_for_reader();
    let line = log.style().own_line(SystemTime::now(), Level::Error, text);
    log.push(&line);
    log.flush();
}

fn log() -> MutexGuard<'static, Log> {
    // The lines of a thread that panicked are still valid.
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lines that are not written yet, and their output.
struct Log {
    /// Opened at the first write.
    output: Option<Output>,
    /// Text, until the program says otherwise.
    style: Option<Style>,
    bytes: Vec<u8>,
    /// How many lines were dropped since the last report.
    dropped: u64,
    /// How long writing may still wait for the reader; `None` until the program's end.
    patience: Option<Duration>,
    /// The last byte written was not the end of a line.
    is_within_line: bool,
    /// The rest of that line was dropped.
    is_torn: bool,
    /// Since the start.
    counters: Counters,
}

impl Log {
    const fn new() -> Log {
        Log {
            output: None,
            style: None,
            bytes: Vec::new(),
            dropped: 0,
            patience: None,
            is_within_line: false,
            is_torn: false,
            counters: Counters { waiting_bytes: 0, dropped: 0, writes: 0 },
        }
    }

    fn output(&mut self) -> &Output {
        self.output.get_or_insert_with(Output::open)
    }

    fn style(&mut self) -> Style {
        *self.style.get_or_insert_with(|| Style::of_stderr(LogFormat::Text))
    }

    fn waiting(&mut self) -> Option<RawFd> {
        (!self.bytes.is_empty()).then(|| self.output().as_fd().as_raw_fd())
    }

    fn unfinished(&mut self) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
        self.flush();
        let mut bytes = self.bytes.clone();
        if self.is_torn {
            bytes.insert(0, b'\n');
        }
        bytes.extend(self.dropped_report());
        let own = match self.output() {
            Output::Own(own) => Some(own.try_clone()?),
            Output::File | Output::Socket | Output::Shared => None,
        };
        Ok((bytes, own))
    }

    fn hold_for_reader(&mut self) {
        self.patience.get_or_insert(FINISH_WAIT_MAX);
    }

    fn finish(&mut self) {
        self.hold_for_reader();
        self.flush();
    }

    /// Keeps a line for the next flush, or drops it if there is no room.
    fn push(&mut self, line: &[u8]) {
        if !self.fits(line.len()) {
            self.flush();
        }
        self.report_dropped();
        // Lines after the dropped ones must not overtake the report.
        if self.dropped > 0 || !self.fits(line.len()) {
            self.dropped += 1;
            self.counters.dropped += 1;
        } else {
            self.bytes.extend_from_slice(line);
        }
    }

    fn flush(&mut self) {
        self.write();
        if self.dropped > 0 {
            self.report_dropped();
            self.write();
        }
        if self.bytes.is_empty() {
            self.bytes.shrink_to(PIPE_BYTES);
        }
    }

    fn fits(&self, bytes: usize) -> bool {
        self.bytes.len() + bytes <= WAITING_BYTES_MAX
    }

    /// Reports the number of dropped lines in their place, once there is room for some lines again.
    fn report_dropped(&mut self) {
        if self.dropped > 0 && self.fits(PIPE_BYTES) {
            let report = self.dropped_report();
            self.bytes.extend(report);
            self.dropped = 0;
        }
    }

    /// The line about dropped lines, if there are any.
    fn dropped_report(&mut self) -> Vec<u8> {
        match self.dropped {
            0 => Vec::new(),
            dropped => {
                let report = format!("dropped {dropped} log lines: the reader is too slow");
                self.style().own_line(SystemTime::now(), Level::Warn, &report)
            }
        }
    }

    /// Writes in pieces, as far as there is room or patience.
    fn write(&mut self) {
        // A program that embeds the server logs elsewhere: its standard error is not even opened.
        if self.bytes.is_empty() {
            return;
        }
        if self.is_torn {
            // The next line begins on its own.
            self.bytes.insert(0, b'\n');
            self.is_torn = false;
        }
        let output = self.output.get_or_insert_with(Output::open);
        let mut written = 0;
        while written < self.bytes.len() {
            match output.write(first_lines(&self.bytes[written..])) {
                Ok(n) => {
                    written += n;
                    self.counters.writes += 1;
                    self.is_within_line = !self.bytes[..written].ends_with(b"\n");
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    if !self.patience.as_mut().is_some_and(|patience| output.wait(patience)) {
                        break;
                    }
                }
                // The reader is gone or the disk is full: relaying continues without these lines.
                Err(_) => {
                    written = self.bytes.len();
                    self.is_torn = self.is_within_line;
                }
            }
        }
        self.bytes.drain(..written);
    }
}

/// As many whole lines as a pipe takes at once, so that no other writer's lines interrupt them.
fn first_lines(bytes: &[u8]) -> &[u8] {
    let most = &bytes[..bytes.len().min(PIPE_BYTES)];
    match most.iter().rposition(|&byte| byte == b'\n') {
        Some(end) => &most[..=end],
        None => most,
    }
}

/// The target of the logger, which writes each line in one call.
struct Gatherer;

impl Write for Gatherer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut log = log();
        log.push(line);
        if log::max_level() >= LevelFilter::Debug {
            log.flush();
        }
        Ok(line.len())
    }

    /// The end of a line is not the end of a turn.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};
    use std::fs::File;
    use std::io::Read;

    /// A log into a pipe, and its reader.
    fn piped() -> (Log, File) {
        let (reader, writer) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        let (output, style) = (Some(Output::Own(writer)), Some(Style::default()));
        (Log { output, style, ..Log::new() }, reader.into())
    }

    fn read(mut reader: &File) -> String {
        let mut text = String::new();
        let _ = reader.read_to_string(&mut text);
        text
    }

    /// Short and long lines: a short one may fit where a long one did not.
    fn line(number: usize) -> String {
        format!("{number:0>width$}\n", width = if number.is_multiple_of(2) { 179 } else { 19 })
    }

    #[test]
    fn dropped_lines_are_reported_in_their_place_and_no_line_is_cut() {
        let (mut log, reader) = piped();
        let mut text = String::new();
        let mut next = 0;
        for _ in 0..3 {
            for number in next..next + 10_000 {
                log.push(line(number).as_bytes());
                assert!(log.bytes.len() <= WAITING_BYTES_MAX);
            }
            next += 10_000;
            while log.waiting().is_some() {
                text += &read(&reader);
                log.flush();
            }
        }
        text += &read(&reader);
        let (mut expected, mut reports) = (0, 0);
        for found in text.lines() {
            if let Some(report) = found.strip_prefix("socku: dropped ") {
                let count = report.strip_suffix(" log lines: the reader is too slow").unwrap();
                expected += count.parse::<usize>().unwrap();
                reports += 1;
            } else {
                assert_eq!(found, line(expected).trim_end());
                expected += 1;
            }
        }
        assert_eq!((expected, reports), (next, 3));
    }

    #[test]
    fn lines_that_can_never_be_written_are_dropped_and_none_waits() {
        let (mut log, reader) = piped();
        (0..10_000).for_each(|number| log.push(line(number).as_bytes()));
        log.flush();
        assert!(log.waiting().is_some());
        drop(reader);
        log.flush();
        assert!(log.waiting().is_none());
        log.push(b"later\n");
        log.flush();
        assert!(log.waiting().is_none());
    }

    #[test]
    fn at_the_end_a_stalled_reader_costs_one_wait_only() {
        let (mut log, _reader) = piped();
        let start = std::time::Instant::now();
        log.hold_for_reader();
        (0..10_000).for_each(|number| log.push(line(number).as_bytes()));
        log.finish();
        assert!(start.elapsed() >= FINISH_WAIT_MAX);
        assert_eq!(log.patience, Some(Duration::ZERO));
    }

    #[test]
    fn another_program_goes_on_where_this_one_stopped() {
        let (mut log, reader) = piped();
        (0..10_000).for_each(|number| log.push(line(number).as_bytes()));
        let (bytes, own) = log.unfinished().unwrap();
        let mut next = Log { bytes, output: own.map(Output::Own), ..Log::new() };
        let mut text = String::new();
        while next.waiting().is_some() {
            text += &read(&reader);
            next.flush();
        }
        text += &read(&reader);
        let lines: Vec<_> = text.lines().collect();
        let (report, kept) = lines.split_last().unwrap();
        let expected: Vec<_> = (0..kept.len()).map(line).collect();
        assert_eq!(kept.join("\n"), expected.concat().trim_end());
        let dropped = 10_000 - kept.len();
        assert!(report.contains(&format!("dropped {dropped} log lines")), "{report}");
    }

    #[test]
    fn pieces_end_at_the_end_of_a_line_if_possible() {
        assert_eq!(first_lines(b"one\ntwo\nth"), b"one\ntwo\n");
        assert_eq!(first_lines(&[b'x'; 5000]).len(), PIPE_BYTES);
        assert_eq!(first_lines(line(2).repeat(50).as_bytes()).len(), 3960);
    }
}
