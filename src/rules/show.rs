//! Rules as text, in the form that the parser reads.

use super::{AddressPattern, Ident, Rule, TargetPattern};
use std::fmt::{self, Display, Formatter};
use std::net::Ipv4Addr;

impl Display for AddressPattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (masks, values) = (self.mask.to_be_bytes(), self.value.to_be_bytes());
        if !masks.iter().all(|mask| matches!(mask, 0 | 255)) {
            return write!(f, "{}/{}", Ipv4Addr::from(self.value), self.mask.leading_ones());
        }
        for (place, (mask, value)) in masks.iter().zip(values).enumerate() {
            f.write_str(if place > 0 { "." } else { "" })?;
            match mask {
                0 => f.write_str("*")?,
                _ => write!(f, "{value}")?,
            }
        }
        Ok(())
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
        f.write_str(match self.ident {
            Ident::No => "",
            Ident::Strict => " ident",
            Ident::Lax => " ident-lax",
        })
    }
}
