//! Bytes and descriptors handed to the program that this process becomes.
//!
//! They wait in sockets while the process changes its program. Only standard input is inherited:
//! one end of a socket pair. Its one message carries a file in memory with the bytes, and further
//! sockets with the descriptors, since what one socket can hold is limited.
//!
//! No other process can hand over anything: the kernel says which process made the socket pair
//! (SO_PEERCRED), and it must have been this one. It must have been this user and group as well: a
//! process keeps its id when it executes a program with the set-user-ID bit, and hands that program
//! its standard input.

use minicbor::encode;
use rustix::cmsg_space;
use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create, open};
use rustix::io::Errno;
use rustix::net::sockopt::{socket_domain, socket_peercred, socket_type};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, UCred, recvmsg,
    sendmsg, socketpair,
};
use rustix::process::{getegid, geteuid, getgid, getpid, getuid};
use rustix::stdio::{dup2_stdin, stdin};
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, IoSlice, IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Begins the first message; the number of descriptors follows.
const MAGIC: &[u8; 12] = b"socku-exec/1";
/// Most descriptors in one message (SCM_MAX_FD, `man 7 unix`).
const DESCRIPTORS_PER_MESSAGE: usize = 253;
const SPACE: usize = cmsg_space!(ScmRights(DESCRIPTORS_PER_MESSAGE));

/// What was handed over.
pub struct Parcel {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The descriptors, in their order. All are closed on exec.
    pub descriptors: Vec<OwnedFd>,
}

/// A file in memory, written piece by piece: the bytes may be many, and the memory of a process
/// limited.
pub struct Memory(BufWriter<File>);

impl Memory {
    /// An empty one.
    pub fn new() -> io::Result<Memory> {
        let file = memfd_create("socku-hand-over", MemfdFlags::CLOEXEC)?;
        Ok(Memory(BufWriter::new(file.into())))
    }

    /// The file, to be read from its start.
    pub fn into_file(self) -> io::Result<File> {
        let mut file = self.0.into_inner()?;
        file.rewind()?;
        Ok(file)
    }
}

impl encode::Write for Memory {
    type Error = io::Error;

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
}

/// Puts a file in memory and descriptors into a socket that [`receive`] reads as standard input.
/// They stay what they are here as well: if the socket is closed instead, nothing has happened.
///
/// # Errors
///
/// Without blocking, when a limit of the system is reached.
pub fn send(memory: &File, descriptors: &[BorrowedFd<'_>]) -> io::Result<OwnedFd> {
    let mut channels = Vec::new();
    let mut last: Option<OwnedFd> = None;
    for piece in descriptors.chunks(DESCRIPTORS_PER_MESSAGE) {
        if let Some(sender) = &last {
            match send_message(sender, b"d", piece) {
                // This socket is full.
                Err(Errno::AGAIN) => {}
                sent => {
                    sent?;
                    continue;
                }
            }
        }
        let (sender, receiver) = pair()?;
        send_message(&sender, b"d", piece)?;
        channels.push(receiver);
        last = Some(sender);
    }
    let mut first = MAGIC.to_vec();
    first.extend((descriptors.len() as u64).to_be_bytes());
    let mut carried = vec![memory.as_fd()];
    carried.extend(channels.iter().map(AsFd::as_fd));
    let (sender, receiver) = pair()?;
    send_message(&sender, &first, &carried)?;
    Ok(receiver)
}

/// What this process handed over to itself before it became this program; `None` if it has just
/// been started. Standard input is empty afterwards. The limit of open files needs no care: it
/// stays the same when a process becomes another program.
///
/// # Errors
///
/// Something is missing: the limit of open files has been lowered since the trial.
pub fn receive() -> io::Result<Option<Parcel>> {
    let Some(parcel) = receive_from(stdin())? else { return Ok(None) };
    // Where there is no such file, the socket stays, which is at its end.
    if let Ok(null) = open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        dup2_stdin(null)?;
    }
    Ok(Some(parcel))
}

fn receive_from(socket: BorrowedFd<'_>) -> io::Result<Option<Parcel>> {
    if !is_own(socket) {
        return Ok(None);
    }
    let mut carried = Vec::new();
    let mut first = [0; MAGIC.len() + size_of::<u64>()];
    let length = receive_message(socket, &mut first, &mut carried)?;
    let (magic, count) = first.split_at(MAGIC.len());
    if length != first.len() || magic != MAGIC || carried.is_empty() {
        return Ok(None);
    }
    let count = count.try_into().map_or(0, u64::from_be_bytes);
    let mut channels = carried.into_iter();
    let mut bytes = Vec::new();
    if let Some(memory) = channels.next() {
        File::from(memory).read_to_end(&mut bytes)?;
    }
    let mut descriptors = Vec::new();
    for channel in channels {
        while receive_message(channel.as_fd(), &mut [0], &mut descriptors)? > 0 {}
    }
    if descriptors.len() as u64 != count {
        let found = descriptors.len();
        return Err(io::Error::other(format!("found {found} descriptors, expected {count}")));
    }
    Ok(Some(Parcel { bytes, descriptors }))
}

/// Whether this is a socket of the right kind that this very process has made, as the user that it
/// still is.
fn is_own(socket: BorrowedFd<'_>) -> bool {
    let own = UCred { pid: getpid(), uid: geteuid(), gid: getegid() };
    (getuid(), getgid()) == (own.uid, own.gid) && is_made_by(own, socket)
}

fn is_made_by(process: UCred, socket: BorrowedFd<'_>) -> bool {
    socket_domain(socket) == Ok(AddressFamily::UNIX)
        && socket_type(socket) == Ok(SocketType::SEQPACKET)
        && socket_peercred(socket) == Ok(process)
}

fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

fn send_message(
    socket: &OwnedFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = SendAncillaryBuffer::new(&mut space);
    // More sockets than one message carries are more than the system can hold in sockets.
    if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::TOOMANYREFS);
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags).map(|_| ())
}

/// Returns the length of the message, 0 at the end, and appends its descriptors.
fn receive_message(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let message = match recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, flags) {
        Err(Errno::AGAIN) => return Ok(0),
        other => other?,
    };
    for received in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = received {
            descriptors.extend(received);
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::new(ErrorKind::QuotaExceeded, "too few descriptors"));
    }
    Ok(message.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;
    use rustix::fs::fstat;
    use rustix::process::{Gid, Pid, Uid};
    use std::os::unix::net::UnixStream;

    fn in_memory(bytes: &[u8]) -> File {
        let mut memory = Memory::new().unwrap();
        encode::Write::write_all(&mut memory, bytes).unwrap();
        memory.into_file().unwrap()
    }

    #[test]
    fn bytes_and_descriptors_arrive_in_order() {
        let files: Vec<File> =
            ["one", "two", "three"].map(|text| in_memory(text.as_bytes())).into();
        let borrowed: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        let parcel =
            receive_from(send(&in_memory(b"bytes"), &borrowed).unwrap().as_fd()).unwrap().unwrap();
        assert_eq!(parcel.bytes, b"bytes");
        let inode = |file: BorrowedFd<'_>| fstat(file).unwrap().st_ino;
        let sent: Vec<_> = borrowed.iter().copied().map(inode).collect();
        let received: Vec<_> = parcel.descriptors.iter().map(|fd| inode(fd.as_fd())).collect();
        assert_eq!(received, sent);
    }

    #[test]
    fn as_many_descriptors_as_a_process_may_have_fit() {
        // Sender and receiver are one process here, and other tests need some.
        let most = limits::raise_descriptor_limit().min(20_000) as usize;
        let files = vec![stdin(); most / 2];
        let parcel = receive_from(send(&in_memory(b""), &files).unwrap().as_fd()).unwrap().unwrap();
        assert_eq!(parcel.descriptors.len(), files.len());
    }

    #[test]
    fn a_full_socket_is_followed_by_another() {
        let (sender, _receiver) = pair().unwrap();
        let sent = (0..10_000).take_while(|_| send_message(&sender, b"d", &[stdin()]).is_ok());
        let messages = sent.count();
        assert!((1..10_000).contains(&messages), "{messages} messages: it never blocks");
        // Users other than root may have fewer on the way.
        if rustix::process::geteuid().is_root() {
            let files = vec![stdin(); (2 * messages + 1) * DESCRIPTORS_PER_MESSAGE];
            let receiver = send(&in_memory(b""), &files).unwrap();
            let (mut first, mut carried) = ([0; MAGIC.len() + size_of::<u64>()], Vec::new());
            receive_message(receiver.as_fd(), &mut first, &mut carried).unwrap();
            assert_eq!(carried.len(), 1 + 3);
        }
    }

    #[test]
    fn without_descriptors_the_bytes_arrive() {
        let bytes = vec![7; 1 << 20];
        let parcel = receive_from(send(&in_memory(&bytes), &[]).unwrap().as_fd()).unwrap().unwrap();
        assert!(parcel.bytes == bytes && parcel.descriptors.is_empty());
    }

    /// A process keeps its id when it executes a program that makes it another user.
    #[test]
    fn a_socket_of_another_user_is_not_our_own() {
        let (_sender, receiver) = pair().unwrap();
        let own = UCred { pid: getpid(), uid: geteuid(), gid: getegid() };
        assert!(is_made_by(own, receiver.as_fd()));
        for other in [
            UCred { pid: Pid::INIT, ..own },
            UCred { uid: Uid::from_raw(own.uid.as_raw() + 1), ..own },
            UCred { gid: Gid::from_raw(own.gid.as_raw() + 1), ..own },
        ] {
            assert!(!is_made_by(other, receiver.as_fd()));
        }
    }

    #[test]
    fn nothing_else_counts_as_handed_over() {
        let is_taken = |fd: BorrowedFd<'_>| receive_from(fd).unwrap().is_some();
        assert!(!is_taken(in_memory(b"file").as_fd()));
        // A stream of our own, an empty socket, and one with another message.
        assert!(!is_taken(UnixStream::pair().unwrap().0.as_fd()));
        let (sender, receiver) = pair().unwrap();
        assert!(!is_taken(receiver.as_fd()));
        send_message(&sender, b"something else", &[stdin()]).unwrap();
        assert!(!is_taken(receiver.as_fd()));
    }
}
