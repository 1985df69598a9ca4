//! What a client sends before its bytes for the target: a request of SOCKS4, or the messages of
//! SOCKS5.

use crate::plan::Plan;
use crate::random::Random;
use crate::users;
use std::net::IpAddr;

/// A user and a password.
pub type Credentials = (&'static str, &'static str);

/// Methods that a client without a password offers: often, and now and then.
const OFFERS: [&[u8]; 3] = [&[0], &[0, 1], &[3, 0, 0x80]];
const OTHER_OFFERS: [&[u8]; 3] = [&[], &[1], &[3, 0x80]];
/// And one with a password.
const OFFERS_WITH_PASSWORD: [&[u8]; 6] = [&[2], &[2], &[0, 2], &[0, 2], &[2, 0], &[1, 2, 0x80]];

impl Plan {
    pub fn write_request(&mut self, random: &mut Random) {
        if self.is_socks5 {
            self.write_messages(random);
        } else {
            self.write_request_4(random);
            self.ends = vec![self.request.len()];
        }
    }

    fn write_request_4(&mut self, random: &mut Random) {
        let mut bytes = vec![4, self.command];
        bytes.extend(self.port.to_be_bytes());
        match (self.name, self.host) {
            (None, IpAddr::V4(host)) => bytes.extend(host.octets()),
            _ => bytes.extend([0, 0, 0, 7]),
        }
        bytes.extend(self.user.bytes());
        bytes.push(0);
        if let Some(name) = self.name {
            bytes.extend(name.bytes());
            bytes.push(0);
        }
        if random.chance(15) {
            let long = |most: usize| vec![b'a'; most + 1];
            match random.below(7) {
                0 => (self.flaw, bytes[0]) = (Some("bad-version"), random.pick(&[0, 6, 0x47])),
                1 => (self.flaw, bytes[1]) = (Some("bad-command"), random.pick(&[0, 3, 255])),
                2 => {
                    (self.flaw, bytes) = (Some("user-too-long"), [&bytes[..8], &long(512)].concat())
                }
                other => {
                    bytes.truncate(8);
                    bytes[4..].copy_from_slice(&[0, 0, 0, 1]);
                    let long = [&b"\0"[..], &long(255)].concat();
                    let name = [&b"\0\0"[..], b"\x00127.1\0", b"\0a..b\0", &long];
                    bytes.extend(name[other as usize - 3]);
                    let flaw = ["empty-name", "bad-name", "bad-name", "name-too-long"];
                    self.flaw = Some(flaw[other as usize - 3]);
                }
            }
        }
        self.request = bytes;
    }

    /// Greeting, password and request of SOCKS5. Those that come together are those that a client
    /// would send one by one, in the hope that the server chooses what they expect.
    fn write_messages(&mut self, random: &mut Random) {
        let offers = match self.login {
            None if random.chance(12) => random.pick(&OTHER_OFFERS),
            None => random.pick(&OFFERS),
            Some(_) => random.pick(&OFFERS_WITH_PASSWORD),
        };
        let mut bytes = [&[5, offers.len() as u8], offers].concat();
        self.ends.push(bytes.len());
        if let Some((user, password)) = self.login {
            let version = if random.chance(4) { 4 } else { 1 };
            bytes.extend([version, user.len() as u8]);
            bytes.extend(user.bytes());
            bytes.push(password.len() as u8);
            bytes.extend(password.bytes());
            self.ends.push(bytes.len());
        }
        bytes.extend(self.request_5(random));
        self.ends.push(bytes.len());
        self.request = bytes;
    }

    fn request_5(&mut self, random: &mut Random) -> Vec<u8> {
        // Some clients do not set RSV.
        let mut bytes = vec![5, self.command, if random.chance(5) { 7 } else { 0 }];
        let named = |bytes: &mut Vec<u8>, name: &[u8]| {
            bytes.extend([3, name.len() as u8]);
            bytes.extend(name);
        };
        match (self.name, self.host) {
            (Some(name), _) => named(&mut bytes, name.as_bytes()),
            (None, IpAddr::V4(host)) if self.is_mapped => {
                bytes.push(4);
                bytes.extend(host.to_ipv6_mapped().octets());
            }
            (None, IpAddr::V4(host)) => {
                bytes.push(1);
                bytes.extend(host.octets());
            }
            (None, IpAddr::V6(host)) => {
                bytes.push(4);
                bytes.extend(host.octets());
            }
        }
        if random.chance(15) {
            match random.below(7) {
                // What follows from it is decided with the messages before.
                0 => bytes[0] = random.pick(&[0, 1, 4]),
                1 => (self.flaw, bytes[1]) = (Some("bad-command"), random.pick(&[0, 3, 255])),
                2 => (self.flaw, bytes[3]) = (Some("bad-address-type"), random.pick(&[0, 2, 5])),
                other => {
                    bytes.truncate(3);
                    let long = [b'a'; 254];
                    let names = [&b""[..], b"127.1", b"[fd00:2::1]", &long];
                    named(&mut bytes, names[other as usize - 3]);
                    let flaws = ["empty-name", "bad-name", "bad-name", "name-too-long"];
                    self.flaw = Some(flaws[other as usize - 3]);
                }
            }
        }
        bytes.extend(self.port.to_be_bytes());
        bytes
    }

    /// The server wants no password: a client that waits for its answers does not send it.
    /// Returns which bytes of the request are left out.
    pub fn leave_out_password(&mut self) -> std::ops::Range<usize> {
        let range = self.ends[0]..self.ends[1];
        self.login = None;
        self.request.drain(range.clone());
        self.ends.remove(1);
        self.ends[1] -= range.len();
        range
    }

    /// Whether a request of SOCKS4 can be read to its end, though its name may be no name.
    pub fn has_an_end(&self) -> bool {
        let endless = ["bad-version", "bad-command", "user-too-long", "name-too-long"];
        self.flaw.is_none_or(|flaw| !endless.contains(&flaw))
    }

    /// The bytes of a request of SOCKS4 announce a name.
    pub fn is_socks4a(&self) -> bool {
        self.request[4..7] == [0, 0, 0] && self.request[7] != 0
    }
}

/// A user with a password that was right at the start, or with another one.
pub fn credentials(random: &mut Random, right_percent: u64) -> Credentials {
    let user = random.pick(&["bob", "bob", "eve", "mallory"]);
    let right = users::password_of(0, user).filter(|_| random.chance(right_percent));
    (user, right.unwrap_or_else(|| random.pick(&["guess", "s", "secret2", ""])))
}
