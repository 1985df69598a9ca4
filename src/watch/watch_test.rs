//! Real changes of real files: a table of those that are detected.

use super::*;
use std::os::unix::fs::symlink;

/// An empty directory.
fn scratch(name: &str) -> PathBuf {
    let place = std::env::temp_dir().join(format!("socku-watch-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).unwrap();
    place.canonicalize().unwrap()
}

fn watch(files: &[PathBuf]) -> (mio::Poll, FileWatch) {
    let poll = mio::Poll::new().unwrap();
    let watch = FileWatch::new(poll.registry(), 0, files.to_vec()).unwrap();
    (poll, watch)
}

/// Whether the loop would be woken, and by which files.
fn detected(poll: &mut mio::Poll, watch: &mut FileWatch) -> (bool, Vec<usize>) {
    let mut events = mio::Events::with_capacity(8);
    poll.poll(&mut events, Some(std::time::Duration::ZERO)).unwrap();
    (!events.is_empty(), watch.changes())
}

/// Replaces `path` by a link in one step.
fn flip(path: &Path, target: &str) {
    let new = path.with_extension("new");
    symlink(target, &new).unwrap();
    fs::rename(new, path).unwrap();
}

fn replace(path: &Path) {
    let new = path.with_extension("new");
    fs::write(&new, "2").unwrap();
    fs::rename(new, path).unwrap();
}

/// `real/file` with the neighbour `real/other`; `mounted` is a link to the same directory, as
/// `..data` is in Kubernetes, and `file` is a link through it.
fn lay_out(at: &Path) {
    for directory in ["real", "spare", "away"] {
        fs::create_dir(at.join(directory)).unwrap();
    }
    for file in ["real/file", "real/other", "spare/file", "other"] {
        fs::write(at.join(file), "1").unwrap();
    }
    symlink("real", at.join("mounted")).unwrap();
    symlink("mounted/file", at.join("file")).unwrap();
    fs::hard_link(at.join("real/file"), at.join("away/alias")).unwrap();
}

type Change = fn(&Path);

#[test]
fn each_kind_of_change_to_a_file_is_detected_once() {
    let changes: [(&str, Change); 14] = [
        ("written", |at| fs::write(at.join("real/file"), "2").unwrap()),
        ("written by another name", |at| fs::write(at.join("away/alias"), "2").unwrap()),
        ("replaced", |at| replace(&at.join("real/file"))),
        ("its link replaced", |at| flip(&at.join("file"), "spare/file")),
        ("its link back", |at| flip(&at.join("file"), "mounted/file")),
        ("the link to its directory replaced", |at| flip(&at.join("mounted"), "spare")),
        ("written there", |at| fs::write(at.join("spare/file"), "2").unwrap()),
        ("back, by an absolute link", |at| {
            flip(&at.join("mounted"), at.join("away/../real").to_str().unwrap());
        }),
        ("its directory replaced", |at| {
            fs::rename(at.join("real"), at.join("old")).unwrap();
            fs::rename(at.join("spare"), at.join("real")).unwrap();
        }),
        ("deleted", |at| fs::remove_file(at.join("real/file")).unwrap()),
        ("written anew", |at| fs::write(at.join("real/file"), "3").unwrap()),
        ("its directory deleted", |at| fs::remove_dir_all(at.join("real")).unwrap()),
        ("another moved there", |at| fs::rename(at.join("old"), at.join("real")).unwrap()),
        ("made readable", |at| {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(at.join("real/file"), fs::Permissions::from_mode(0o600)).unwrap();
        }),
    ];
    let at = scratch("changes");
    lay_out(&at);
    let (mut poll, mut watch) = watch(&[at.join("other"), at.join("file")]);
    for (what, change) in changes {
        change(&at);
        assert_eq!(detected(&mut poll, &mut watch), (true, vec![1]), "{what}");
        // Only events of removed watches are left.
        detected(&mut poll, &mut watch);
        assert_eq!(detected(&mut poll, &mut watch), (false, vec![]), "after: {what}");
    }
    fs::write(at.join("other"), "2").unwrap();
    assert_eq!(detected(&mut poll, &mut watch), (true, vec![0]));
    fs::remove_dir_all(at).unwrap();
}

#[test]
fn changes_of_neighbours_do_not_wake_the_loop() {
    let at = scratch("beside");
    lay_out(&at);
    let (mut poll, mut watch) = watch(&[at.join("file")]);
    for round in 0..2 {
        fs::write(at.join("real/other"), "2").unwrap();
        replace(&at.join("real/other"));
        flip(&at.join("link"), "real");
        fs::create_dir(at.join("real/sub")).unwrap();
        fs::remove_dir(at.join("real/sub")).unwrap();
        fs::write(at.join("new"), "2").unwrap();
        fs::remove_file(at.join("new")).unwrap();
        let file = fs::read(at.join("file")).unwrap();
        assert_eq!(detected(&mut poll, &mut watch), (false, vec![]), "round {round}");
        // The same after the file was missing and its directories were watched for its name.
        fs::remove_file(at.join("real/file")).unwrap();
        assert_eq!(detected(&mut poll, &mut watch).1, [0]);
        fs::write(at.join("real/file"), file).unwrap();
        assert_eq!(detected(&mut poll, &mut watch).1, [0]);
        detected(&mut poll, &mut watch);
    }
    fs::remove_dir_all(at).unwrap();
}

#[test]
fn a_missing_file_is_detected_when_it_appears() {
    let at = scratch("missing");
    let (mut poll, mut watch) = watch(&[at.join("a/b/file")]);
    fs::create_dir_all(at.join("x/a")).unwrap();
    assert_eq!(detected(&mut poll, &mut watch).1, [0_usize; 0]);
    fs::rename(at.join("x/a"), at.join("a")).unwrap();
    assert_eq!(detected(&mut poll, &mut watch).1, [0]);
    symlink("../../else", at.join("a/b")).unwrap();
    assert_eq!(detected(&mut poll, &mut watch).1, [0]);
    flip(&at.join("a/b"), "../else");
    assert_eq!(detected(&mut poll, &mut watch).1, [0]);
    fs::create_dir(at.join("else")).unwrap();
    assert_eq!(detected(&mut poll, &mut watch).1, [0]);
    fs::write(at.join("else/file"), "1").unwrap();
    assert_eq!(detected(&mut poll, &mut watch).1, [0]);
    detected(&mut poll, &mut watch);
    assert_eq!(detected(&mut poll, &mut watch), (false, vec![]));
    fs::remove_dir_all(at).unwrap();
}

/// After an event of one file, the paths of all are walked, which finds the changes of the others:
/// their watches are gone before their events are read.
#[test]
fn a_path_that_leads_elsewhere_counts_as_a_change() {
    let at = scratch("others");
    lay_out(&at);
    let (mut poll, mut watch) = watch(&[at.join("other"), at.join("file")]);
    flip(&at.join("mounted"), "spare");
    assert_eq!(watch.renew(), [1]);
    assert_eq!(detected(&mut poll, &mut watch).1, [0_usize; 0]);
    assert_eq!(watch.renew(), []);
    fs::write(at.join("spare/file"), "2").unwrap();
    assert_eq!(detected(&mut poll, &mut watch).1, [1]);
    fs::remove_dir_all(at).unwrap();
}

/// A directory that is open is removed without an event of its own.
#[test]
fn a_directory_removed_while_open_is_detected_when_it_is_created_again() {
    let at = scratch("held");
    fs::create_dir(at.join("a")).unwrap();
    fs::write(at.join("a/file"), "1").unwrap();
    let (mut poll, mut watch) = watch(&[at.join("a/file")]);
    let _held = fs::File::open(at.join("a")).unwrap();
    fs::remove_file(at.join("a/file")).unwrap();
    assert_eq!(detected(&mut poll, &mut watch).1, [0]);
    fs::remove_dir(at.join("a")).unwrap();
    detected(&mut poll, &mut watch);
    fs::create_dir(at.join("a")).unwrap();
    assert_eq!(detected(&mut poll, &mut watch).1, [0]);
    fs::write(at.join("a/file"), "1").unwrap();
    assert_eq!(detected(&mut poll, &mut watch).1, [0]);
    fs::remove_dir_all(at).unwrap();
}

#[test]
fn a_loop_of_links_is_not_followed_forever_and_its_repair_is_detected() {
    let at = scratch("circle");
    symlink("two", at.join("one")).unwrap();
    symlink("one", at.join("two")).unwrap();
    let (mut poll, mut watch) = watch(&[at.join("one")]);
    fs::remove_file(at.join("two")).unwrap();
    assert_eq!(detected(&mut poll, &mut watch).1, [0]);
    fs::write(at.join("two"), "1").unwrap();
    assert_eq!(detected(&mut poll, &mut watch).1, [0]);
    fs::remove_dir_all(at).unwrap();
}
