//! Name servers over TCP, for answers that UDP has truncated: whole, in pieces, or not at all.

use crate::actors::{Actor, Role};
use crate::addresses::sub_of;
use crate::dns::{answer, name_in};
use crate::kernel::{Happening, Kernel};
use crate::tcp::FAR;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// How a server behaves; an honest one does one of the first two.
#[derive(Clone, Copy, Debug)]
enum Conduct {
    Answers,
    /// An answer to another question comes first.
    Digresses,
    ClosesEarly,
    ResetsEarly,
    IsSilent,
    /// A length that no answer has, or bytes that are none.
    TalksNonsense,
    /// The answer is truncated even here.
    Truncates,
}

/// One connection of the proxy's to a name server.
pub struct NameServer {
    generation: usize,
    conduct: Conduct,
    question: Vec<u8>,
    /// What is still to be sent, piece by piece.
    pieces: VecDeque<Vec<u8>>,
    /// How often it may still look whether the proxy has closed.
    patience: u32,
}

/// Longer than any question takes.
const PATIENCE: u32 = 500;

impl NameServer {
    /// Does the next thing; after how long to go on, if at all.
    pub fn wake(&mut self, kernel: &mut Kernel, place: usize) -> Option<u64> {
        let conn = kernel.conns.iter().rposition(|c| c.actor == Some(place))?;
        let before = self.question.len();
        match kernel.read(conn, FAR, &mut self.question, 1000) {
            Ok(0) | Err(Errno::CONNRESET | Errno::PIPE) => {
                kernel.close(conn, FAR);
                return None;
            }
            _ => {}
        }
        if self.question.len() > before && self.is_complete() {
            self.prepare(kernel);
            if let Conduct::ResetsEarly = self.conduct {
                kernel.reset(conn, FAR);
                return None;
            }
        }
        if let Some(piece) = self.pieces.pop_front() {
            match kernel.write(conn, FAR, &piece, piece.len()) {
                Ok(n) if n < piece.len() => self.pieces.push_front(piece[n..].to_vec()),
                Ok(_) => {}
                Err(_) => self.pieces.push_front(piece),
            }
            if self.pieces.is_empty() && matches!(self.conduct, Conduct::ClosesEarly) {
                kernel.close(conn, FAR);
                return None;
            }
        }
        let most = if self.pieces.is_empty() { 200 } else { 5 };
        self.patience -= 1;
        (self.patience > 0).then(|| kernel.random.within(1, most))
    }

    fn is_complete(&self) -> bool {
        let length = self.question.first_chunk().map(|length| u16::from_be_bytes(*length));
        let is_whole = length.is_some_and(|n| self.question.len() == 2 + usize::from(n));
        let is_more = length.is_some_and(|n| self.question.len() > 2 + usize::from(n));
        assert!(!is_more, "more than one question");
        is_whole
    }

    /// Decides what is sent, and how it is cut.
    fn prepare(&mut self, kernel: &mut Kernel) {
        let question = &self.question[2..];
        let framed = |message: &[u8]| {
            let length = (message.len() as u16).to_be_bytes();
            [&length[..], message].concat()
        };
        let truth = answer(question, None, self.generation);
        kernel.say(|| format!("tcp: {:?} for {}", self.conduct, name_in(question)));
        let bytes = match self.conduct {
            Conduct::Answers => framed(&truth),
            Conduct::Digresses => {
                let mut other = truth.clone();
                other[1] ^= 0x55;
                [framed(&other), framed(&truth)].concat()
            }
            Conduct::ClosesEarly => {
                let whole = framed(&truth);
                whole[..kernel.random.below(whole.len() as u64) as usize].to_vec()
            }
            Conduct::TalksNonsense if kernel.random.chance(50) => vec![0xff; 40],
            Conduct::TalksNonsense => framed(&[kernel.random.next() as u8; 30]),
            Conduct::Truncates => {
                let mut message = truth;
                message[2] |= 2;
                framed(&message)
            }
            Conduct::IsSilent | Conduct::ResetsEarly => Vec::new(),
        };
        let size = kernel.random.pick(&[1, 7, 1000]);
        let size = kernel.random.within(1, size) as usize;
        self.pieces = bytes.chunks(size.max(bytes.len() / 8)).map(<[u8]>::to_vec).collect();
    }
}

impl Kernel {
    /// The proxy connects to a name server: whether and how that comes to an end.
    pub fn call_name_server(&mut self, conn: usize, server: SocketAddr) -> Result<(), Errno> {
        self.conns[conn].role = Some(Role::NameServer);
        self.seen.dns_streams += 1;
        let delay = self.random.within(0, 40);
        let honesty = self.cast.honesty;
        let is_honest = self.random.chance(honesty);
        match self.random.below(8) {
            0 if !is_honest => return Err(Errno::NETUNREACH),
            1 if !is_honest => {
                self.after(delay, Happening::Answered(conn, Some(Errno::CONNREFUSED)));
                return Ok(());
            }
            2 if !is_honest => return Ok(()),
            _ => {}
        }
        let conduct = match is_honest {
            true => self.random.pick(&[Conduct::Answers, Conduct::Digresses]),
            false => self.random.pick(&[
                Conduct::Answers,
                Conduct::Digresses,
                Conduct::ClosesEarly,
                Conduct::ResetsEarly,
                Conduct::IsSilent,
                Conduct::TalksNonsense,
                Conduct::Truncates,
            ]),
        };
        let generation = usize::from(sub_of(server.ip()));
        let (question, pieces) = Default::default();
        let server = NameServer { generation, conduct, question, pieces, patience: PATIENCE };
        self.actors.push(Actor::NameServer(server));
        self.conns[conn].actor = Some(self.actors.len() - 1);
        self.after(delay, Happening::Answered(conn, None));
        Ok(())
    }

    /// Before the loop sleeps: a question has been sent as far as there is room, and what has come
    /// of an answer was read. Where nobody waits for a name, no socket is left.
    pub fn check_name_servers(&self) {
        let is_asked = |conn: &usize| self.conns[*conn].role == Some(Role::NameServer);
        for conn in self.held.iter().copied().filter(is_asked) {
            let near = &self.conns[conn].ends[crate::tcp::NEAR];
            assert!(!near.is_readable(), "what a name server has sent lies unread");
            let is_open = self.conns[conn].established && near.is_alive();
            assert!(!is_open || near.given > 0 || !near.has_room(), "a question is held in vain");
        }
        let sockets = self.datagrams.len() + self.held.iter().filter(|conn| is_asked(conn)).count();
        assert!(sockets == 0 || self.askers() > 0, "{sockets} sockets ask for nobody");
    }
}
