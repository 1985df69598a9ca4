//! What has happened in runs, for a look at whether it was a test.

#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Urgent bytes that the proxy has sent as such.
    pub urgent: u64,
    /// A splice met an urgent byte.
    pub splices_at_mark: u64,
    /// The proxy found that a reset had to wait.
    pub waiting_resets: u64,
    /// A target was reset as soon as it had accepted, and that was passed on.
    pub bursts: u64,
    /// Something was replaced that the proxy goes by.
    pub reloads: u64,
    /// The program was replaced.
    pub upgrades: u64,
    /// Sessions that were handed over: while their request was read, while they were asking,
    /// connecting, listening, relayed, rejected; with bytes held; and runs with bytes in a pipe.
    pub handed_over: [u64; 8],
    /// Sessions waited for a name when the name servers were replaced.
    pub lingering: u64,
    /// Questions went to TCP.
    pub dns_streams: u64,
    /// Sessions that were granted, those of SOCKS5, and of these with a password.
    pub grants: u64,
    pub socks5: u64,
    pub proven: u64,
    /// CONNECTs to IPv6, clients of IPv6, and those whose target has the other family.
    pub v6_targets: u64,
    pub v6_clients: u64,
    pub crossed: u64,
    /// BINDs whose peer has come, of IPv4 and of IPv6.
    pub binds: [u64; 2],
    /// IPv4 addresses written as IPv6.
    pub mapped: u64,
    /// Sessions that tried both families, and that reached one when the other had failed.
    pub mixed: u64,
    pub fallbacks: u64,
    /// Clients that were turned away, of SOCKS4 and of SOCKS5.
    pub turned_away: [u64; 2],
    /// The time was over when a password or a request of SOCKS5 was awaited.
    pub late_messages: u64,
    /// Sessions of SOCKS5 whose messages came together, and one by one.
    pub paces: [u64; 2],
}

impl Seen {
    pub fn add(&mut self, other: &Seen) {
        self.urgent += other.urgent;
        self.splices_at_mark += other.splices_at_mark;
        self.waiting_resets += other.waiting_resets;
        self.bursts += other.bursts;
        self.reloads += other.reloads;
        self.upgrades += other.upgrades;
        for (number, other) in self.handed_over.iter_mut().zip(other.handed_over) {
            *number += other;
        }
        self.lingering += other.lingering;
        self.dns_streams += other.dns_streams;
        self.grants += other.grants;
        self.socks5 += other.socks5;
        self.proven += other.proven;
        self.v6_targets += other.v6_targets;
        self.v6_clients += other.v6_clients;
        self.crossed += other.crossed;
        self.mapped += other.mapped;
        self.mixed += other.mixed;
        self.fallbacks += other.fallbacks;
        self.late_messages += other.late_messages;
        for place in 0..2 {
            self.binds[place] += other.binds[place];
            self.turned_away[place] += other.turned_away[place];
            self.paces[place] += other.paces[place];
        }
    }

    /// Both protocols and both families have met, in one mode.
    pub fn assert_it_was_a_test(&self, seeds: u64) {
        assert!(self.grants > seeds, "{} grants", self.grants);
        self.assert_upgrades_were_met(seeds);
        for (number, least, what) in [
            (self.socks5, seeds / 4, "grants of SOCKS5"),
            (self.grants - self.socks5, seeds / 4, "grants of SOCKS4"),
            (self.paces[0], seeds / 8, "grants to messages that came together"),
            (self.paces[1], seeds / 8, "grants to messages that waited for answers"),
            (self.proven, seeds / 16, "grants after a password"),
            (self.v6_targets, seeds / 8, "connections to IPv6"),
            (self.v6_clients, seeds / 8, "granted clients of IPv6"),
            (self.crossed, seeds / 8, "relays between the families"),
            (self.binds[0], seeds / 16, "peers of a BIND over IPv4"),
            (self.binds[1], seeds / 64, "peers of a BIND over IPv6"),
            (self.mapped, seeds / 128, "grants for IPv4 written as IPv6"),
            (self.mixed, seeds / 32, "sessions that tried both families"),
            (self.fallbacks, seeds / 128, "connections of one family after the other failed"),
            (self.turned_away[0], seeds / 128, "clients of SOCKS4 turned away"),
            (self.turned_away[1], seeds / 128, "clients of SOCKS5 turned away"),
            (self.late_messages, seeds / 64, "late messages after the first"),
        ] {
            assert!(number > least, "{number} {what}, expected more than {least}");
        }
    }
}
