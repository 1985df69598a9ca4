//! The calls that no library provides, and the only unsafe code.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

#[cfg(feature = "upgrade")]
pub use process::{exec, set_blocked};

/// Whether the next byte is the urgent one: `sockatmark` (POSIX) as Linux spells it.
#[cfg(not(any(target_arch = "mips", target_arch = "mips64")))]
const SIOCATMARK: u32 = 0x8905;
#[cfg(any(target_arch = "mips", target_arch = "mips64"))]
const SIOCATMARK: u32 = 0x4004_7307;
/// Bytes of a TCP connection that its peer has not acknowledged (`man 7 tcp`, SIOCOUTQ).
const SIOCOUTQ: u32 = libc::TIOCOUTQ as u32;

/// How many bytes the peer of a TCP connection has not acknowledged.
pub fn unacknowledged(socket: &impl AsFd) -> io::Result<usize> {
    Ok(get_int(socket, SIOCOUTQ)?.max(0) as usize)
}

/// Whether the next byte to be read from a TCP connection is the urgent one.
pub fn is_at_mark(socket: &impl AsFd) -> io::Result<bool> {
    Ok(get_int(socket, SIOCATMARK)? != 0)
}

/// The system's clock that only goes forward, in nanoseconds. rustix takes the time of 32-bit MIPS with
/// musl, whose parts have 32 bits there, for one of 64 bits.
pub fn clock_ns() -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the pointer is valid for the whole struct, which the call fills in unless it fails.
    let time = unsafe {
        let result = libc::clock_gettime(libc::CLOCK_MONOTONIC, time.as_mut_ptr());
        assert!(result == 0, "Linux has this clock");
        time.assume_init()
    };
    (time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
}

/// Whether a descriptor has room to write to, or an error, before this time has passed. Here rustix
/// passes a time in the same form.
pub fn is_writable_within(descriptor: &impl AsFd, time: Duration) -> bool {
    let fd = descriptor.as_fd().as_raw_fd();
    let mut asked = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    // Rounded up, so that the wait does not end early.
    let timeout_ms = c_int::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX);
    // SAFETY: the descriptor is borrowed for the call, and the pointer is to one valid struct, as the
    // number says.
    unsafe { libc::poll(&raw mut asked, 1, timeout_ms) != 0 }
}

/// Makes a later bind to an address leave the port to connect, when the kernel knows the target:
/// one port then serves many targets (`man 7 ip`, since Linux 4.2).
pub fn bind_without_port(socket: &impl AsFd) -> io::Result<()> {
    let on: c_int = 1;
    // SAFETY: the descriptor is borrowed for the call; the kernel reads one c_int, whose size is
    // given, and keeps no pointer to it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of::<c_int>() as libc::socklen_t,
        )
    };
    succeeded(result)
}

/// An ioctl that fills in one c_int.
fn get_int(socket: &impl AsFd, request: u32) -> io::Result<c_int> {
    let mut value: c_int = 0;
    // SAFETY: the descriptor is borrowed for the call; both requests of this file write one c_int
    // through the pointer, which is valid for that, and keep no copy of it.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), request as _, &raw mut value) };
    succeeded(result).map(|()| value)
}

fn succeeded(result: c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The calls with which this process becomes another program.
#[cfg(feature = "upgrade")]
mod process {
    use std::ffi::{CStr, CString, c_char, c_int};
    use std::mem::MaybeUninit;
    use std::{io, ptr};

    /// Keeps these signals from being delivered to this thread, or delivers them from now on. One that
    /// is blocked is kept by the kernel, also while the process becomes another program.
    pub fn set_blocked(signals: &[c_int], blocked: bool) -> io::Result<()> {
        let how = if blocked { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset fills in the whole set through a pointer that is valid for that; the
        // other calls change and read it after that. The previous mask is not asked for, which a null
        // pointer says (`man 3 pthread_sigmask`).
        let error = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for &signal in signals {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            libc::pthread_sigmask(how, set.as_ptr(), ptr::null_mut())
        };
        // This call returns its error in place of setting errno.
        if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
    }

    /// Makes this process another program, with the environment as it is; returns only if that fails,
    /// and has changed nothing then. `Command::exec` would make SIGPIPE end this process from then on.
    pub fn exec(program: &CStr, arguments: &[CString]) -> io::Error {
        let mut pointers: Vec<*const c_char> = arguments.iter().map(|text| text.as_ptr()).collect();
        pointers.push(ptr::null());
        // SAFETY: all pointers are to strings that end with NUL and live until the call returns, and
        // the list ends with a null pointer. The call reads the environment, which nothing in this
        // crate ever changes.
        unsafe { libc::execv(program.as_ptr(), pointers.as_ptr()) };
        io::Error::last_os_error()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn the_clock_goes_as_that_of_the_standard_library() {
        let outer = Instant::now();
        let before = clock_ns();
        let inner = Instant::now();
        while inner.elapsed() < Duration::from_millis(5) {}
        let least = inner.elapsed();
        let passed = Duration::from_nanos(clock_ns() - before);
        assert!((least..=outer.elapsed()).contains(&passed), "{passed:?}");
    }

    #[test]
    fn a_pipe_without_room_is_waited_for_as_long_as_said() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        assert!(is_writable_within(&writer, Duration::from_secs(60)));
        let room = rustix::pipe::fcntl_getpipe_size(&writer).unwrap();
        io::Write::write_all(&mut writer, &vec![0; room]).unwrap();
        for time in [Duration::ZERO, Duration::from_micros(1), Duration::from_millis(30)] {
            let start = Instant::now();
            assert!(!is_writable_within(&writer, time));
            assert!(start.elapsed() >= time, "{time:?}");
        }
        drop(reader);
        assert!(is_writable_within(&writer, Duration::from_secs(60)), "an error");
    }
}
