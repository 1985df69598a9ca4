//! What goes on between the two ends of a connection: bytes, urgent or not, FINs, resets, and
//! nothing any more.

use crate::kernel::{Happening, Kernel};
use crate::tcp::{FAR, NEAR};
use rustix::io::Errno;

impl Kernel {
    /// Lets the wire take what an end has.
    pub fn kick(&mut self, conn: usize, end: usize) {
        let this = &mut self.conns[conn].ends[end];
        if !this.carrying && this.is_laden() && !this.dead && !this.reset {
            this.carrying = true;
            let latency = self.latency();
            self.after(latency, Happening::Carry(conn, end));
        }
    }

    /// What is on its way to the proxy comes just before the call that will tell of it, and so
    /// before any event.
    pub fn hasten(&mut self, conn: usize) {
        let races = self.mood.races;
        if self.conns[conn].ends[NEAR].recv.is_empty() && self.random.chance(3 * races) {
            self.bring(conn, true);
        }
    }

    /// The next byte on its way to the proxy is urgent, and comes just before a splice.
    pub fn hasten_urgent(&mut self, conn: usize) {
        let [near, far] = &mut self.conns[conn].ends;
        let can_be = near.recv.is_empty() && !far.send.is_empty() && far.carrying;
        if can_be && (far.finished || self.random.chance(60)) {
            if far.marks.front() != Some(&near.arrived) {
                far.marks.push_front(near.arrived);
            }
            self.bring(conn, true);
        }
    }

    /// The end of a connection comes just before the call that will tell of it.
    pub fn hasten_end(&mut self, conn: usize) {
        if self.random.chance(30) {
            self.bring(conn, false);
        }
    }

    fn bring(&mut self, conn: usize, may_be_bytes: bool) {
        let coming = |h: &Happening| match *h {
            Happening::Reset(c, NEAR) | Happening::GivenUp(c) => c == conn,
            Happening::Carry(c, FAR) => may_be_bytes && c == conn,
            _ => false,
        };
        let found = self.queue.iter().find(|(_, happening)| coming(happening));
        if let Some(key) = found.map(|(key, _)| *key) {
            match self.queue.remove(&key) {
                Some(Happening::Carry(..)) => self.carry(conn, FAR),
                Some(Happening::GivenUp(..)) => self.give_up(conn),
                _ => self.reset_arrives(conn, NEAR),
            }
        }
    }

    pub fn carry(&mut self, conn: usize, from: usize) {
        let mosts = if self.mood.is_wide { [100_000; 3] } else { [10, 6_000, 100_000] };
        let most = self.random.pick(&mosts);
        let most = self.random.within(1, most) as usize;
        let is_ahead = self.random.chance(30);
        let c = &mut self.conns[conn];
        let [near, far] = &mut c.ends;
        let (source, sink) = if from == NEAR { (near, far) } else { (far, near) };
        source.carrying = false;
        if source.dead || source.reset || sink.dead {
            return;
        }
        let room = sink.recv_capacity.saturating_sub(sink.recv.len());
        let n = source.send.len().min(if sink.closed { usize::MAX } else { room }).min(most);
        if sink.closed {
            source.send.clear();
            if n == 0 {
                sink.fin_arrived = source.finished;
            } else {
                let latency = self.latency();
                self.after(latency, Happening::Reset(conn, from));
            }
            return;
        }
        if n > 0 {
            source.moved_at = self.now;
        }
        let before = sink.has_urgent().then_some(sink.urgent);
        sink.recv.extend(source.send.drain(..n));
        sink.arrived += n as u64;
        while let Some(&mark) = source.marks.front()
            && (is_ahead || mark < sink.arrived)
        {
            source.marks.pop_front();
            sink.urgent = Some(mark);
            sink.announced.insert(mark);
        }
        let is_news = sink.has_urgent() && before != Some(sink.urgent);
        let fin = source.finished && source.send.is_empty() && !sink.fin_arrived;
        if fin {
            (sink.fin_arrived, sink.fin_at) = (true, self.now);
        }
        let more = !source.send.is_empty() && n > 0 || (n > 0 && source.finished && !fin);
        if (fin || is_news) && from == FAR {
            c.watch.changed = true;
        }
        // The state of a connection changes when its FIN is acknowledged, and epoll looks again.
        if fin && from == NEAR && c.watch.awaits_room {
            c.watch.changed = true;
        }
        if more {
            self.kick(conn, from);
        }
    }

    /// A far end is gone without a word; after a while the proxy's kernel gives up.
    pub fn vanish(&mut self, conn: usize) {
        let far = &mut self.conns[conn].ends[FAR];
        (far.closed, far.dead) = (true, true);
        let patience = self.random.within(200, 3_000);
        self.after(patience, Happening::GivenUp(conn));
    }

    pub fn give_up(&mut self, conn: usize) {
        let error = self.random.pick(&[Errno::TIMEDOUT, Errno::TIMEDOUT, Errno::HOSTUNREACH]);
        let c = &mut self.conns[conn];
        let near = &mut c.ends[NEAR];
        if near.closed || near.dead {
            return;
        }
        (near.dead, near.given_up, near.error) = (true, true, Some(error));
        near.send.clear();
        c.watch.changed = true;
        self.say(|| format!("connection {conn} is given up: {error}"));
    }

    pub fn reset_arrives(&mut self, conn: usize, to: usize) {
        let c = &mut self.conns[conn];
        let end = &mut c.ends[to];
        if end.closed || end.dead {
            return;
        }
        end.dead = true;
        end.error = Some(if end.fin_arrived { Errno::PIPE } else { Errno::CONNRESET });
        end.send.clear();
        c.watch.changed |= to == NEAR;
        self.say(|| {
            format!("connection {conn}: a reset reaches {}", ["the proxy", "the far end"][to])
        });
    }

    /// What the proxy has sent and the other end's kernel has not got; FIN counts as a byte.
    pub fn owed(&self, conn: usize) -> usize {
        let [near, far] = &self.conns[conn].ends;
        near.send.len() + usize::from(near.finished && !far.fin_arrived)
    }

    /// The last byte written is urgent.
    pub fn mark(&mut self, conn: usize, end: usize) {
        let end = &mut self.conns[conn].ends[end];
        end.marks.push_back(end.given - 1);
    }

    /// The proxy splices from its end.
    pub fn read_to_pipe(
        &mut self,
        conn: usize,
        into: &mut Vec<u8>,
        most: usize,
    ) -> Result<usize, Errno> {
        let read = self.conns[conn].ends[NEAR].read_to_pipe(into, most);
        if matches!(read, Ok(n) if n > 0) {
            self.kick(conn, FAR);
        }
        read
    }

    /// Reads at the far end, or at the near one.
    pub fn read(
        &mut self,
        conn: usize,
        end: usize,
        into: &mut Vec<u8>,
        most: usize,
    ) -> Result<usize, Errno> {
        let read = self.conns[conn].ends[end].read(into, most);
        if matches!(read, Ok(n) if n > 0) {
            self.kick(conn, 1 - end);
        }
        read
    }

    pub fn write(
        &mut self,
        conn: usize,
        end: usize,
        bytes: &[u8],
        most: usize,
    ) -> Result<usize, Errno> {
        let written = self.conns[conn].ends[end].write(bytes, most);
        if written.is_ok() {
            self.conns[conn].ends[end].moved_at = self.now;
        }
        self.kick(conn, end);
        written
    }

    pub fn finish(&mut self, conn: usize, end: usize) {
        self.conns[conn].ends[end].finished = true;
        self.kick(conn, end);
    }

    /// Closes in order; over bytes that nobody has read, Linux resets.
    pub fn close(&mut self, conn: usize, end: usize) {
        let this = &mut self.conns[conn].ends[end];
        if this.closed {
            return;
        }
        if !this.recv.is_empty() {
            return self.reset(conn, end);
        }
        this.closed = true;
        self.finish(conn, end);
    }

    pub fn reset(&mut self, conn: usize, end: usize) {
        let this = &mut self.conns[conn].ends[end];
        if this.closed {
            return;
        }
        (this.closed, this.reset) = (true, true);
        this.send.clear();
        let latency = self.latency();
        self.after(latency, Happening::Reset(conn, 1 - end));
    }
}
