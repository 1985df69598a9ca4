use super::*;
use serde_json::{Map, Value as Json, json};

/// The object that a text stands for.
fn object_of(text: &str) -> Map<String, Json> {
    let value = |name: &str, value: &str| match value.strip_prefix('"') {
        Some(quoted) => json!(quoted.strip_suffix('"').unwrap()),
        None if ["id", "rule", "reply", "up", "down", "ms"].contains(&name) => {
            json!(value.parse::<u64>().unwrap())
        }
        None if name == "ident" => json!(format!("no user: {value}")),
        None => json!(value),
    };
    let pairs = text.split(' ').map(|pair| pair.split_once('=').unwrap());
    let given = pairs.filter(|(_, value)| *value != "-");
    given.map(|(name, text)| (name.into(), value(name, text))).collect()
}

#[test]
fn the_object_of_a_session_says_the_same_as_its_line_of_pairs() {
    for session in sessions() {
        let text = shown(&session, LogFormat::Json);
        assert!(!text.contains(char::is_control) && text.is_ascii(), "{text}");
        let object: Map<String, Json> = serde_json::from_str(&text).unwrap();
        assert_eq!(object, object_of(&shown(&session, LogFormat::Text)));
        for name in object.keys() {
            assert_eq!(text.matches(&format!("\"{name}\":")).count(), 1, "{name} in {text}");
        }
    }
}

#[test]
fn a_user_of_identd_cannot_be_mistaken_for_another_result_in_json() {
    for (result, _, json) in ident_results() {
        assert_eq!(serde_json::to_string(&Value::Ident(&result)).unwrap(), json);
    }
}
