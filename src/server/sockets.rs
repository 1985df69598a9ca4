//! The sockets that a server listens on.

use super::conflict::{conflict, listened};
use super::error::{Error, Step};
use super::origin::{Origin, Parts};
use super::pages::Pages;
use crate::config::{Config, SettingError};
use crate::context::BACKLOG;
use crate::net::MioNet;
use crate::reactor::Reactor;
use crate::service::Passed;
use crate::token::LISTENERS_MAX;
use std::io;
use std::net::SocketAddr;

/// The sockets that a server listens on.
pub enum Sockets {
    /// It opens its own.
    Own {
        /// Where.
        addresses: Vec<SocketAddr>,
        /// Other processes may listen there as well.
        shared: bool,
    },
    /// The service manager has passed them, in place of its own.
    Passed(Passed),
}

impl Sockets {
    /// Those of the service manager if there are any, otherwise those of the settings.
    pub fn find(config: &Config) -> Result<Sockets, Error> {
        let passed = match config.service {
            true => Passed::take(LISTENERS_MAX),
            false => Ok(None),
        };
        let passed = passed.map_err(|error| Error::step(Step::Sockets, error))?;
        match (passed, config.listen.first().filter(|_| config.is_listen_given)) {
            (None, _) => {
                check_conflicts(config)?;
                Ok(Sockets::Own { addresses: config.listen.clone(), shared: config.reuse_port })
            }
            (Some(passed), None) => Ok(Sockets::Passed(passed)),
            // Either could be meant.
            (Some(_), Some(found)) => Err(Error::Setting(SettingError {
                flag: "listen",
                found: found.to_string(),
                expected: "none beside the sockets of the service manager (LISTEN_FDS)".into(),
            })),
        }
    }

    /// Listens on all of them.
    fn listen(self, reactor: &mut Reactor<MioNet>) -> Result<(), Error> {
        match self {
            Sockets::Own { addresses, shared } => {
                for address in addresses {
                    let listening = match shared {
                        true => reactor
                            .listen_with(|net, token| net.listen_shared(address, BACKLOG, token)),
                        false => reactor.listen(address),
                    };
                    listening.map_err(|source| Error::Listen {
                        flag: "listen",
                        address,
                        source,
                    })?;
                }
            }
            Sockets::Passed(passed) => {
                for listener in passed.into_listeners() {
                    reactor
                        .listen_with(|net, token| net.adopt_passed(listener, token))
                        .map_err(|error| Error::step(Step::Sockets, error))?;
                }
            }
        }
        Ok(())
    }
}

/// Names both flags, where the system's error would name the second one alone.
fn check_conflicts(config: &Config) -> Result<(), Error> {
    let all = listened(config);
    for (place, &(flag, address)) in all.iter().enumerate() {
        if let Some(source) = conflict(config, &all, place) {
            return Err(Error::Listen { flag, address, source });
        }
    }
    Ok(())
}

impl Origin for Sockets {
    fn is_start(&self) -> bool {
        true
    }

    fn listeners(&self) -> usize {
        match self {
            Sockets::Own { addresses, .. } => addresses.len(),
            Sockets::Passed(passed) => passed.count(),
        }
    }

    fn net(&self) -> io::Result<MioNet> {
        MioNet::new()
    }

    fn build(self: Box<Self>, parts: Parts) -> Result<(Reactor<MioNet>, Pages), Error> {
        let Parts { net, settings, rules, resolver, users, status } = parts;
        let mut reactor = Reactor::new(net, settings, rules, resolver);
        if let Some(users) = users {
            reactor.set_users(users);
        }
        self.listen(&mut reactor)?;
        let pages = Pages::listen(&mut reactor, status)?;
        Ok((reactor, pages))
    }
}
