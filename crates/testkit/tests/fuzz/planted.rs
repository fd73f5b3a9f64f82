//! The driver finds what is planted: decoders that are wrong in the ways that decoders are.

use crate::turns;
use isopach::engine::{
    codec::{FileHeader, FileKind, HEADER_BYTES},
    types::Uuid,
};
use std::{env, fs, hint::black_box, panic, path::Path, thread};
use testkit::fuzz::{self, Budget, Counted, Memory, Target, drive};

const SMALL: Memory = Memory { per_byte: 4, constant: 4096, counted: Counted::Thread };

/// Drives a target and returns what it was found to have done.
fn found(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>, memory: Memory) -> String {
    let target = Target { name, run, seeds, memory };
    let driven = panic::catch_unwind(|| drive(&target, 7, Budget::Cases(20_000)));
    let panicked = driven.expect_err("the planted bug was not found");
    let _ = fs::remove_file(env::temp_dir().join(format!("isopach-{name}-7.input")));
    panicked.downcast_ref::<String>().expect("a message").clone()
}

/// A length and as many bytes, as often as they come.
fn fields() -> Vec<Vec<u8>> {
    vec![[&[3, 0, 0, 0][..], b"abc", &[2, 0, 0, 0], b"de"].concat()]
}

fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*length) as usize, rest))
}

#[test]
fn a_length_that_is_not_checked_is_found() {
    let _turn = turns::beside_others();
    let decoder = |mut bytes: &[u8]| {
        while let Some((length, rest)) = length(bytes) {
            black_box(&rest[..length]);
            bytes = &rest[length..];
        }
    };

    assert!(found("planted_bounds", decoder, fields, SMALL).contains("panicked"));
}

#[test]
fn memory_that_is_taken_before_a_length_is_checked_is_found() {
    let _turn = turns::beside_others();
    let decoder = |bytes: &[u8]| {
        let Some((length, rest)) = length(bytes) else { return };
        let mut field: Vec<u8> = Vec::with_capacity(length);
        field.extend_from_slice(rest.get(..length).unwrap_or_default());
        black_box(field);
    };

    assert!(found("planted_memory", decoder, fields, SMALL).contains("bytes of memory"));
}

#[test]
fn a_sum_that_overflows_is_found() {
    let _turn = turns::beside_others();
    let decoder = |bytes: &[u8]| {
        let Some((offset, length)) = bytes.split_first_chunk::<8>() else { return };
        let end = u64::from_le_bytes(*offset) + length.len() as u64;
        black_box(end);
    };

    assert!(found("planted_overflow", decoder, || vec![vec![1; 16]], SMALL).contains("panicked"));
}

#[test]
fn a_panic_on_another_thread_is_found() {
    let _turn = turns::alone();
    let decoder = |bytes: &[u8]| {
        let first = bytes.first().copied();
        let background = thread::spawn(move || assert_ne!(first, Some(0xFF), "planted"));
        let _ = background.join(); // As workers are: their panics are caught.
    };
    let memory = Memory { counted: Counted::Process, constant: 64 << 20, ..SMALL };

    assert!(found("planted_thread", decoder, || vec![vec![0; 4]], memory).contains("thread of its own"));
}

/// Behind a checksum: what is not repaired never gets there.
#[test]
fn what_lies_behind_a_checksum_is_found_by_bytes_that_pass_it() {
    let _turn = turns::beside_others();
    let decoder = |bytes: &[u8]| {
        let header = bytes.first_chunk::<HEADER_BYTES>().and_then(|header| FileHeader::decode(header).ok());
        assert!(header.is_none_or(|header| header.kind != FileKind::Blob), "planted");
    };
    let headers = || {
        let header = FileHeader::clear(FileKind::Table, Uuid([7; 16]), Uuid([9; 16]));
        vec![header.encode().to_vec()]
    };
    let bare = Target { name: "planted_bare", run: decoder, seeds: headers, memory: SMALL };

    assert_eq!(drive(&bare, 7, Budget::Cases(20_000)).cases, 20_000, "the checksum keeps it away");
    let repaired = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        fuzz::repair_file(&mut bytes);
        let header = bytes.first_chunk::<HEADER_BYTES>().and_then(|header| FileHeader::decode(header).ok());
        assert!(header.is_none_or(|header| header.kind != FileKind::Blob), "planted");
    };
    assert!(found("planted_behind", repaired, headers, SMALL).contains("panicked"));
}

#[test]
fn one_seed_makes_one_run() {
    let _turn = turns::beside_others();
    let target = fuzz::target("edit");
    let drive = |seed| drive(target, seed, Budget::Cases(300));

    let (one, again, other) = (drive(7), drive(7), drive(8));

    assert_eq!((one.cases, one.input_bytes), (again.cases, again.input_bytes));
    assert_ne!(one.input_bytes, other.input_bytes);
}

/// `fuzz/` has a program for every target.
#[test]
fn every_target_has_a_program() {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let manifest = fs::read_to_string(programs.join("Cargo.toml")).unwrap();
    for target in fuzz::TARGETS {
        let program = fs::read_to_string(programs.join(format!("fuzz_targets/{}.rs", target.name))).unwrap();
        assert!(program.contains(&format!("fuzz::run(\"{}\", data)", target.name)), "{}", target.name);
        assert!(manifest.contains(&format!("\nname = \"{}\"\n", target.name)), "{}", target.name);
    }
    let files = fs::read_dir(programs.join("fuzz_targets")).unwrap().count();
    assert_eq!(files, fuzz::TARGETS.len(), "and none besides");
}
