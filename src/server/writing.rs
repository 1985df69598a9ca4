//! The lines of the log and of dumps, written as their reader has room.

use super::{LOG, Server};
use crate::logging;
use crate::token::FIRST_USER_TOKEN;
use mio::unix::SourceFd;
use mio::{Interest, Token};
use std::mem::replace;

impl Server {
    /// Writes the lines logged in this turn. Those that the log's reader has no room for wait, and
    /// so does the rest of a dump. The loop wakes as soon as the reader makes room.
    pub(super) fn write_log(&mut self) {
        logging::flush();
        self.continue_dump();
        let registry = self.reactor.net().registry();
        match (logging::waiting(), self.watched_log) {
            (Some(log), None) => {
                let token = Token(FIRST_USER_TOKEN + LOG);
                // Should it fail, the lines go out with the next event.
                let watched = registry.register(&mut SourceFd(&log), token, Interest::WRITABLE);
                self.watched_log = watched.is_ok().then_some(log);
            }
            (None, Some(log)) => {
                // A closed pipe would always be ready.
                let _ = registry.deregister(&mut SourceFd(&log));
                self.watched_log = None;
            }
            _ => {}
        }
    }

    /// A turn whose lines were written was not in vain.
    pub(super) fn note_log_writes(&mut self) {
        let writes = logging::counters().writes;
        if writes != replace(&mut self.log_writes, writes) {
            self.reactor.note_progress();
        }
    }

    /// Writes the next piece of a dump if the log has room for it. Requests that come during a
    /// dump are answered by one more after it.
    fn continue_dump(&mut self) {
        if self.dump.is_none() && self.dump_requested && logging::has_room_for_dump() {
            self.dump_requested = false;
            self.dump = Some(self.reactor.start_dump());
        }
        let Some(dump) = &mut self.dump else { return };
        if self.reactor.continue_dump(dump, logging::has_room_for_dump) {
            self.dump = None;
        }
        logging::flush();
        if (self.dump.is_some() || self.dump_requested) && logging::has_room_for_dump() {
            self.reactor.skip_wait();
        }
    }
}
