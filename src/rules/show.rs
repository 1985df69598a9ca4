//! Rules as text, in the form that the parser reads.

use super::{AddressPattern, Ident, Rule, TargetPattern};
use std::fmt::{self, Display, Formatter};
use std::net::Ipv6Addr;

impl Display for AddressPattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(octets) = self.as_octets() {
            for (place, octet) in octets.into_iter().enumerate() {
                f.write_str(if place > 0 { "." } else { "" })?;
                match octet {
                    None => f.write_str("*")?,
                    Some(octet) => octet.fmt(f)?,
                }
            }
            return Ok(());
        }
        match self.as_network() {
            None => f.write_str("*"),
            Some((address, Ipv6Addr::BITS)) => address.fmt(f),
            Some((network, bits)) => write!(f, "{network}/{bits}"),
        }
    }
}

impl Display for TargetPattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            TargetPattern::Addresses(addresses) => addresses.fmt(f),
            TargetPattern::Name { name, subdomains } => {
                write!(f, "{}{name}", if *subdomains { "*." } else { "" })
            }
        }
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(if self.permit { "permit " } else { "deny " })?;
        f.write_str(if self.connect { "c" } else { "" })?;
        f.write_str(if self.bind { "b" } else { "" })?;
        write!(f, " {}", self.target)?;
        for (place, ports) in self.ports.iter().enumerate() {
            f.write_str(if place == 0 { " port " } else { "," })?;
            match ports.start() == ports.end() {
                true => write!(f, "{}", ports.start())?,
                false => write!(f, "{}-{}", ports.start(), ports.end())?,
            }
        }
        if let Some(from) = self.from {
            write!(f, " from {from}")?;
        }
        if let Some(user) = &self.user {
            write!(f, " user {}", String::from_utf8_lossy(user))?;
        }
        f.write_str(if self.auth { " auth" } else { "" })?;
        f.write_str(match self.ident {
            Ident::No => "",
            Ident::Strict => " ident",
            Ident::Lax => " ident-lax",
        })
    }
}
