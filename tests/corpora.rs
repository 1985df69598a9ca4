//! The fuzzing seeds, intact and damaged, run through the functions that fuzzing calls.

#![cfg(all(feature = "console", feature = "proxy-protocol"))]

mod targets;

use std::fs;
use std::path::Path;

/// How often each seed is damaged.
const DAMAGES: u64 = 300;

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// A few octets changed, removed, doubled or cut off.
fn damaged(seed: &[u8], state: &mut u64) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=next(state) % 4 {
        if bytes.is_empty() {
            break;
        }
        let at = next(state) as usize % bytes.len();
        match next(state) % 8 {
            0 => bytes.truncate(at),
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, next(state) as u8),
            3 => bytes[at] = [0, 1, 0x3f, 0x40, 0xc0, 0xff, b'\n', b':'][next(state) as usize % 8],
            4 => bytes[at] = bytes[at].wrapping_add(1),
            5 => {
                let end = (at + next(state) as usize % 40).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            _ => bytes[at] ^= 1 << (next(state) % 8),
        }
    }
    bytes
}

#[test]
fn no_seed_intact_or_damaged_shows_a_fault() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    for (target, run) in targets::ALL {
        let mut files: Vec<_> =
            fs::read_dir(seeds.join(target)).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        assert!(files.len() >= 3, "seeds of {target}");
        let mut state = 0x9e37_79b9_7f4a_7c15;
        for file in files {
            let seed = fs::read(&file).unwrap();
            run(&seed);
            for _ in 0..DAMAGES {
                run(&damaged(&seed, &mut state));
            }
        }
    }
}
