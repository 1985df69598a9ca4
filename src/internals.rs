//! The parts that the two programs, the tests and fuzzing use directly. Nothing here is part of the
//! library's interface: it changes without notice.

/// The program `socku-console`.
#[cfg(feature = "console")]
pub mod console {
    pub use crate::console::dialogue::{Dialogue, Effect};
    pub use crate::console::page;
    pub use crate::console::query::{Form, QUERY_BYTES_MAX, parse};
    pub use crate::console::run::{Environment, serve};
    pub use crate::console::script::Script;
}

#[cfg(feature = "server")]
pub use parts::*;

#[cfg(feature = "server")]
mod parts {
    pub mod address {
        pub use crate::address::PerFamily;
    }
    pub mod config {
        pub use crate::config::{
            Config, Invocation, PARTS, Part, UsageError, built_without, parse,
        };
    }
    pub mod dns {
        pub use crate::dns::{DnsError, Hosts, Resolver, ResolverSettings, Transport};
    }
    pub mod escape {
        pub use crate::escape::{Escaped, SHOWN_BYTES_MAX};
    }
    #[cfg(feature = "explain")]
    pub mod explain {
        pub use crate::explain::Answer;
    }
    #[cfg(feature = "upgrade")]
    pub mod handover {
        pub use crate::handover::{FORMAT, Handover, HandoverError, Header};
    }
    pub mod ident {
        pub use crate::ident::{IdentResult, Ports, Strictness, evaluate};
    }
    pub mod limit {
        pub use crate::limit::Limit;
    }
    pub mod limits {
        pub use crate::limits::raise_descriptor_limit;
    }
    pub mod listing {
        pub use crate::listing::listing;
    }
    pub mod logging {
        pub use crate::logging::{finish_with, init};
    }
    pub mod name {
        pub use crate::name::{Classified, classify};
    }
    pub mod net {
        #[cfg(feature = "upgrade")]
        pub use crate::net::HandOver;
        pub use crate::net::{Event, MioNet, Net};
    }
    #[cfg(feature = "proxy-protocol")]
    pub mod proxy_header {
        pub use crate::proxy_header::{BINARY_BYTES_MAX, Header, Malformed, TEXT_BYTES_MAX, parse};
    }
    pub mod reactor {
        #[cfg(feature = "upgrade")]
        pub use crate::reactor::Export;
        pub use crate::reactor::Reactor;
    }
    pub mod reason {
        pub use crate::reason::CloseReason;
    }
    pub mod rules {
        pub use crate::rules::{AccessRequest, PartialRequest, RuleSet, Verdict};
    }
    pub mod session {
        pub use crate::session::{ATTEMPTS_MAX, REPLACE_INTERVALS};
    }
    pub mod settings {
        pub use crate::settings::{Durations, LogFormat, Settings};
    }
    pub mod signals {
        pub use crate::signals::survive_early_requests;
    }
    pub mod time {
        pub use crate::time::Millis;
    }
    pub mod token {
        pub use crate::token::{CLIENT, FIRST_USER_TOKEN, LISTENERS_MAX, Token};
    }
    pub mod upgrade {
        pub use crate::upgrade::receive;
    }
    pub mod users {
        pub use crate::users::{Parser, Users};
    }
    pub mod wire {
        pub use crate::wire::{
            Answer, AnswerError, Command, Host, Message, Method, Methods, Parsed, Protocol,
            Received, Reply, Request, RequestError, Stage, Status, encode_greeting,
            encode_password, encode_request, first_protocol, parse_message, parse_method,
            parse_password_status, parse_reply,
        };
    }
    pub mod server {
        pub use crate::server::check::{Report, check};
        pub use crate::server::health::{Unhealthy, check_health};
        pub use crate::server::question::{Unanswered, answer};
        pub use crate::server::rule_source::RuleSource;
        pub use crate::server::upgrading::answer_trial;

        use crate::config::Config;
        use crate::server::user_source::UserSource;
        use crate::server::{Error, Server};
        use crate::upgrade::{Parcel, Upgrading};

        /// Starts a server by a command line.
        pub fn start(config: &Config, rules: RuleSource) -> Result<Server, Error> {
            Server::start(config, rules, UserSource::find(config), Some(Upgrading::new()))
        }

        /// Starts a server that goes on where the program that this process was has stopped.
        pub fn take_over(config: &Config, parcel: Parcel) -> Result<Server, Error> {
            Server::take_over(config, parcel)
        }
    }
}
