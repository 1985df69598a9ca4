//! The parts of the proxy that a build may leave out, each a cargo feature.

/// A part of the proxy that a build may leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The name of its cargo feature.
    pub feature: &'static str,
    /// The flags that need it, without their dashes.
    pub flags: &'static [&'static str],
    /// The signals that need it, without SIG.
    pub signals: &'static [&'static str],
    /// This build has it.
    pub is_built: bool,
}

/// All optional parts.
pub const PARTS: [Part; 9] = [
    Part {
        feature: "status",
        flags: &["status"],
        signals: &[],
        is_built: cfg!(feature = "status"),
    },
    Part {
        feature: "json",
        flags: &["log-format"],
        signals: &[],
        is_built: cfg!(feature = "json"),
    },
    Part {
        feature: "upgrade",
        flags: &[],
        signals: &["USR2"],
        is_built: cfg!(feature = "upgrade"),
    },
    Part { feature: "service", flags: &[], signals: &[], is_built: cfg!(feature = "service") },
    Part {
        feature: "proxy-protocol",
        flags: &["proxy-protocol"],
        signals: &[],
        is_built: cfg!(feature = "proxy-protocol"),
    },
    Part {
        feature: "health",
        flags: &["health"],
        signals: &[],
        is_built: cfg!(feature = "health"),
    },
    Part {
        feature: "explain",
        flags: &["explain"],
        signals: &[],
        is_built: cfg!(feature = "explain"),
    },
    Part {
        feature: "dead-rules",
        flags: &[],
        signals: &[],
        is_built: cfg!(feature = "dead-rules"),
    },
    Part {
        feature: "timestamps",
        flags: &[],
        signals: &[],
        is_built: cfg!(feature = "timestamps"),
    },
];

/// The parts that this build lacks.
pub fn absent() -> impl Iterator<Item = &'static Part> {
    PARTS.iter().filter(|part| !part.is_built)
}

/// Why something cannot be had that needs the part of this cargo feature.
pub fn lacks(feature: &str) -> String {
    format!("this socku was built without the feature `{feature}`")
}

/// `built without: ` and the names of the parts that this build lacks, if it lacks any.
pub fn built_without() -> Option<String> {
    let absent: Vec<&str> = absent().map(|part| part.feature).collect();
    (!absent.is_empty()).then(|| format!("built without: {}", absent.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The features of Cargo.toml, each with those that it brings.
    fn features() -> Vec<(&'static str, &'static str)> {
        let (_, text) = include_str!("../../Cargo.toml").split_once("[features]\n").unwrap();
        let (text, _) = text.split_once("\n[").unwrap();
        let entries = text.split(']').filter_map(|entry| entry.split_once(" = ["));
        entries.map(|(name, brought)| (name.trim().lines().last().unwrap(), brought)).collect()
    }

    #[test]
    fn every_part_is_a_feature_that_brings_the_server_and_is_on_by_default() {
        let features = features();
        let brought = |name: &str| {
            features.iter().find(|(feature, _)| *feature == name).map(|(_, brought)| *brought)
        };
        for Part { feature, .. } in PARTS {
            let quoted = format!("\"{feature}\"");
            assert!(brought("default").unwrap().contains(&quoted), "{feature} is no default");
            let brought = brought(feature).unwrap_or_else(|| panic!("no feature {feature}"));
            assert!(brought.contains("\"server\""), "{feature} does not bring the server");
        }
        let others = ["default", "server", "client", "console"];
        assert_eq!(features.len(), PARTS.len() + others.len(), "{features:?}");
    }

    #[test]
    fn the_server_does_without_what_a_part_depends_on() {
        let features = features();
        let brought = |name: &str| {
            let found = features.iter().find(|(feature, _)| *feature == name);
            found.unwrap().1.split('"').filter(|word| word.starts_with("dep:")).collect::<Vec<_>>()
        };
        let server = brought("server");
        assert!(server.contains(&"dep:mio"));
        for Part { feature, .. } in PARTS {
            for dependency in brought(feature) {
                assert!(!server.contains(&dependency), "{feature} brings {dependency}");
            }
        }
    }

    #[test]
    fn the_parts_that_are_absent_are_named_in_the_order_of_the_table() {
        let names: Vec<&str> =
            PARTS.iter().filter(|part| !part.is_built).map(|part| part.feature).collect();
        let expected = match names.is_empty() {
            true => None,
            false => Some(format!("built without: {}", names.join(", "))),
        };
        assert_eq!(built_without(), expected);
        assert_eq!(built_without().is_none(), PARTS.iter().all(|part| part.is_built));
    }
}
