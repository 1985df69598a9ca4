use super::*;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

const RULES: usize = 20_000;

/// A directory with a rule file and none of the others.
fn reload(name: &str) -> (PathBuf, mio::Poll, Reload) {
    let place = std::env::temp_dir().join(format!("socku-reload-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("rules"), "deny c 1.2.3.4\n".repeat(RULES)).unwrap();
    let poll = mio::Poll::new().unwrap();
    let files = vec![
        (Source::Rules, place.join("rules")),
        (Source::Hosts, place.join("hosts")),
        (Source::ResolvConf, place.join("resolv.conf")),
    ];
    let reload = Reload::new(files, poll.registry(), 0);
    (place, poll, reload)
}

/// How many turns return nothing, and then the file.
fn next(reload: &mut Reload) -> (usize, Source, Result<Loaded, String>) {
    for turns in 0..1000 {
        assert!(reload.has_more());
        if let Some((source, loaded)) = reload.step() {
            return (turns, source, loaded);
        }
    }
    panic!("no file is complete");
}

fn count(loaded: Result<Loaded, String>) -> usize {
    match loaded {
        Ok(Loaded::Rules(rules)) => rules.rules().len(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn files_are_read_one_by_one_and_a_long_one_over_many_turns() {
    let (place, _poll, mut reload) = reload("turns");
    assert!(!reload.has_more() && reload.step().is_none());
    fs::create_dir(place.join("hosts")).unwrap();
    reload.request_all();
    let (turns, source, loaded) = next(&mut reload);
    assert_eq!((source, count(loaded)), (Source::Rules, RULES));
    let bytes = fs::metadata(place.join("rules")).unwrap().len() as usize;
    assert_eq!(turns, bytes / BYTES_PER_TURN);
    let (turns, source, loaded) = next(&mut reload);
    assert_eq!((turns, source), (0, Source::Hosts));
    assert!(loaded.unwrap_err().contains("hosts: found a directory, expected a regular file"));
    let missing = Ok(Loaded::ResolvConf(Vec::new()));
    assert_eq!(next(&mut reload), (0, Source::ResolvConf, missing));
    assert!(!reload.has_more() && reload.step().is_none());
    fs::remove_dir_all(place).unwrap();
}

#[test]
fn a_long_hosts_file_is_read_over_many_turns() {
    const LINE: &str = "10.0.0.1 some.name.example\n";
    let (place, _poll, mut reload) = reload("hosts");
    let text = LINE.repeat(10 * BYTES_PER_TURN / LINE.len()) + "10.0.0.2 last.example\n";
    fs::write(place.join("hosts"), &text).unwrap();
    reload.request(Source::Hosts);
    let (turns, source, loaded) = next(&mut reload);
    assert_eq!((turns, source), (text.len() / BYTES_PER_TURN, Source::Hosts));
    assert_eq!(loaded, Ok(Loaded::Hosts(Hosts::parse(text.as_bytes()))));
    fs::remove_dir_all(place).unwrap();
}

#[test]
fn a_file_that_changes_while_it_is_read_is_read_again_from_the_start() {
    let (place, _poll, mut reload) = reload("again");
    reload.request_all();
    (0..3).for_each(|_| assert!(reload.step().is_none()));
    fs::write(place.join("new"), "deny c 1.2.3.4\n".repeat(RULES / 2)).unwrap();
    fs::rename(place.join("new"), place.join("rules")).unwrap();
    reload.request_changed();
    let (mut rules, mut others) = (Vec::new(), 0);
    while reload.has_more() {
        match next(&mut reload) {
            (_, Source::Rules, loaded) => rules.push(count(loaded)),
            _ => others += 1,
        }
    }
    assert_eq!((rules, others), (vec![RULES / 2], 2));
    fs::remove_dir_all(place).unwrap();
}

#[test]
fn an_error_is_one_line_with_its_place() {
    let (place, _poll, mut reload) = reload("errors");
    for (text, expected) in [
        ("permit c 1.2.3.4\npermit q 1.2.3.4\n", "rules:2: found `q`"),
        ("# nothing\n", "rules: found no rule"),
    ] {
        fs::write(place.join("rules"), text).unwrap();
        reload.request_changed();
        let error = next(&mut reload).2.unwrap_err();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
        assert_eq!(read_rules(&place.join("rules")), Err(error));
    }
    fs::remove_dir_all(place).unwrap();
}

/// A reload of a users file with this text and mode, and nothing else.
fn users_reload(name: &str, text: &str, mode: u32) -> (PathBuf, mio::Poll, Reload) {
    let (place, poll, _) = reload(name);
    let file = place.join("users");
    write_users(&file, text, mode);
    let reload = Reload::new(vec![(Source::Users, file.clone())], poll.registry(), 1);
    (file, poll, reload)
}

fn write_users(file: &Path, text: &str, mode: u32) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
}

/// The result of a reload of the users file.
fn reloaded(reload: &mut Reload) -> Result<Users, String> {
    reload.request_all();
    match next(reload) {
        (_, Source::Users, Ok(Loaded::Users(users))) => Ok(users),
        (_, Source::Users, Err(error)) => Err(error),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_users_file_that_others_may_read_or_write_is_an_error_and_any_other_mode_is_not() {
    let (file, _poll, mut reload) = users_reload("modes", "alice:secret\n", 0o600);
    let users = Users::parse(b"alice:secret\n").unwrap();
    for mode in [0o600, 0o640, 0o660, 0o400, 0o641, 0o4750] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        assert_eq!(reloaded(&mut reload), Ok(users.clone()), "{mode:o}");
        assert_eq!(read_users(&file), Ok(users.clone()), "{mode:o}");
        assert_eq!(open_users(&file), Ok(()), "{mode:o}");
    }
    let path = file.display();
    let link = file.with_file_name("link");
    symlink(&file, &link).unwrap();
    for (mode, shown) in [(0o644, "0644"), (0o604, "0604"), (0o602, "0602"), (0o1666, "1666")] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let expected = format!(
            "{path}: its mode is {shown}, expected one that keeps others out, for example: chmod \
             640 {path}"
        );
        assert_eq!(reloaded(&mut reload), Err(expected.clone()));
        assert_eq!(read_users(&file), Err(expected.clone()));
        assert_eq!(open_users(&file), Err(expected));
        assert!(read_users(&link).unwrap_err().contains(&format!("its mode is {shown}")));
    }
    fs::remove_dir_all(file.parent().unwrap()).unwrap();
}

#[test]
fn a_users_file_that_is_torn_wrong_or_missing_is_an_error() {
    let (file, _poll, mut reload) = users_reload("users", "alice:secret\n", 0o600);
    let path = file.display().to_string();
    for (text, expected) in [
        ("", ": found no user, expected at least one line NAME:PASSWORD"),
        ("alice:secret\nbob\n", ":2: found a line without a colon, expected NAME:PASSWORD"),
        ("alice:sec", ": found a last line without a newline, expected one after every user"),
        ("alice:secret\n#", ": found a last line without a newline"),
    ] {
        write_users(&file, text, 0o600);
        let error = reloaded(&mut reload).unwrap_err();
        assert!(error.starts_with(&format!("{path}{expected}")), "{error}");
        assert!(!error.contains('\n') && !error.contains("sec"), "{error}");
    }
    // At start nobody is writing it.
    write_users(&file, "alice:secret", 0o600);
    assert_eq!(read_users(&file).unwrap().count(), 1);
    fs::remove_file(&file).unwrap();
    for error in [reloaded(&mut reload).unwrap_err(), read_users(&file).unwrap_err()] {
        assert!(error.starts_with(&format!("{path}: no such file, expected a")), "{error}");
    }
    File::create(&file).unwrap().set_len(USERS_BYTES_MAX + 1).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let error = reloaded(&mut reload).unwrap_err();
    assert!(error.contains(": found 16777217 bytes or more, expected at most 16777216"), "{error}");
    fs::remove_dir_all(file.parent().unwrap()).unwrap();
}

#[test]
fn a_long_users_file_is_read_over_many_turns() {
    let text: String = (0..10_000).map(|number| format!("user{number}:pass word\n")).collect();
    let (file, _poll, mut reload) = users_reload("long", &text, 0o600);
    reload.request_all();
    let (turns, source, loaded) = next(&mut reload);
    assert_eq!((turns, source), (text.len() / BYTES_PER_TURN, Source::Users));
    assert_eq!(loaded, Ok(Loaded::Users(Users::parse(text.as_bytes()).unwrap())));
    fs::remove_dir_all(file.parent().unwrap()).unwrap();
}
