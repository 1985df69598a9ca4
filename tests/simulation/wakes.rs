//! What wakes the loop, and whether it is for something.

use crate::actors::{Client, Role};
use crate::kernel::{DESCRIPTORS_MANY, Kernel};

/// Most turns for each session in which no call does anything.
const FRUITLESS_PER_SESSION_MAX: u64 = 4;

/// And after each upgrade.
const FRUITLESS_PER_UPGRADE_MAX: u64 = 2;

impl Kernel {
    /// Whether a connection awaits room that no call has found lacking.
    fn awaits_room_in_vain(&self, conn: usize) -> bool {
        let watch = &self.conns[conn].watch;
        watch.awaits_room && !watch.met_full
    }

    /// The proxy awaits room to send on a connection.
    pub fn check_awaited_room(&self, conn: usize) {
        assert!(!self.awaits_room_in_vain(conn), "connection {conn} awaits room that it has");
    }

    /// After a turn: a client is awaited for reading only, until there was no room for something. A
    /// target awaits room from the start, to learn that it is connected.
    pub fn check_interests(&self) {
        for &conn in &self.held {
            if let Some(Role::Client(_)) = self.conns[conn].role {
                self.check_awaited_room(conn);
            }
        }
    }

    /// A turn begins; so many calls did something in the one before. To look how far a reset has to
    /// wait is to do something. What comes for a reader that is slow wakes the loop in vain, and
    /// nothing can be done about that.
    pub fn note_turn_begins(&mut self, calls: u64) {
        self.checks.turns += 1;
        let has_looked = std::mem::take(&mut self.checks.has_looked);
        self.checks.fruitless += u64::from(calls == 0 && !has_looked && !self.holds_bytes());
    }

    /// At the end of a calm run: the loop was woken for something.
    pub fn check_wakes(&self, sessions: u64) {
        // A client that is never taken, for want of a session, has woken it when it came.
        let is_waiting = |client: &&Client| client.conn.is_some() && client.reason.is_none();
        let waiting = self.cast.clients.iter().filter(is_waiting).count() as u64;
        // After an upgrade everything runs once, and is told anew what holds.
        let upgrades = FRUITLESS_PER_UPGRADE_MAX * self.seen.upgrades;
        let most = FRUITLESS_PER_SESSION_MAX * (sessions + 1) + waiting + upgrades;
        let fruitless = self.checks.fruitless;
        assert!(fruitless <= most, "{fruitless} turns for nothing, expected at most {most}");
    }

    /// Nothing but the clients and their targets makes the loop run.
    pub fn is_calm(&self) -> bool {
        let mood = &self.mood;
        let habits = [mood.interrupts, mood.races, mood.short, mood.spurious, mood.want];
        let is_rich = mood.descriptors == DESCRIPTORS_MANY;
        habits == [0; 5] && is_rich && self.jumped.is_none()
    }
}
