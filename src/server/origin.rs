//! Where the sockets of a server come from.

use super::error::Error;
use super::pages::Pages;
use crate::dns::Resolver;
use crate::net::MioNet;
use crate::reactor::Reactor;
use crate::rules::RuleSet;
use crate::settings::Settings;
use crate::users::Users;
use std::io;
use std::net::SocketAddr;

/// Where the sockets of a server come from: a start opens them, and an upgrade hands them over with
/// all sessions.
pub trait Origin {
    /// Whether this is a start: a process that takes over from itself has become its user already.
    fn is_start(&self) -> bool;

    /// How many listeners for clients there will be.
    fn listeners(&self) -> usize;

    /// The kernel for the loop, with the clock that it goes by.
    fn net(&self) -> io::Result<MioNet>;

    /// The loop with its listeners, and the status pages.
    fn build(self: Box<Self>, parts: Parts) -> Result<(Reactor<MioNet>, Pages), Error>;
}

/// What a loop and its status pages are made of.
pub struct Parts {
    /// The kernel.
    pub net: MioNet,
    /// The settings of the loop.
    pub settings: Settings,
    /// The rules in force.
    pub rules: RuleSet,
    /// The resolver of names.
    pub resolver: Resolver,
    /// The users who can log in, if any can.
    pub users: Option<Users>,
    /// Where the status pages are served.
    pub status: Option<SocketAddr>,
}
