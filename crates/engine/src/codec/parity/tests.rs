//! Parity as numbers: what each scheme restores, and that nothing beyond it is taken for right.

use super::*;
use crate::{
    codec::{Checksum, Corruption, Salt, golden::assert_golden},
    env::{CreateOptions, File, Fs, MemFs, OpenMode, WriteOrigin},
    types::Uuid,
};
use alloc::{sync::Arc, vec, vec::Vec};
use core::ops::Range;
use std::sync::Mutex;

extern crate std;

/// A file with parity, and what is known of its content.
struct Protected {
    fs: MemFs,
    content: Vec<u8>,
    parity: Parity,
}

fn schemes() -> Vec<Parity> {
    let all = [
        Parity::SecDed,
        Parity::Xor { data: 2 },
        Parity::Xor { data: 16 },
        Parity::ReedSolomon { data: 1, parity: 2 },
        Parity::ReedSolomon { data: 4, parity: 2 },
        Parity::ReedSolomon { data: 16, parity: 2 },
        Parity::ReedSolomon { data: 5, parity: 16 },
    ];
    all.into_iter().filter(|parity| parity.is_available()).collect()
}

#[test]
fn how_long_the_content_may_be_follows_from_the_size_of_the_file() {
    for parity in schemes() {
        for content_bytes in [0, 1, 7, 8, 63, 64, 65, 4095, 4096, 4097, 16_384, 16_385, 100_000, 1 << 40] {
            let file_bytes = content_bytes + parity.trailer_bytes(content_bytes);
            let contents = parity.possible_contents(file_bytes).unwrap();
            assert!(contents.contains(&content_bytes), "{parity} {content_bytes}: {contents:?}");
            let size = |content: u64| content + parity.trailer_bytes(content);
            assert_eq!((size(*contents.start()), size(*contents.end())), (file_bytes, file_bytes));
            assert!(size(contents.end() + 1) > file_bytes && contents.end() - contents.start() < 4096);
            assert!(contents.start().checked_sub(1).is_none_or(|less| size(less) < file_bytes));
        }
        assert_eq!(parity.possible_contents(3), None, "no file with a tail is so short");
        assert!(parity.possible_contents(u64::MAX).is_none(), "nor so long");
    }
    assert_eq!(Parity::Unknown { raw: [9, 1, 1] }.possible_contents(1000), None);
}

impl Protected {
    fn new(parity: Parity, content_bytes: usize) -> Protected {
        let mut state = content_bytes as u64 + 1;
        let mut content = vec![0; content_bytes];
        for byte in &mut content {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            *byte = (state >> 56) as u8;
        }
        let mut writer = ParityWriter::new(parity);
        // In pieces that end nowhere in particular.
        content.chunks(1000).for_each(|piece| writer.write(piece));
        let fs = MemFs::new();
        let file = fs.create("f", &CreateOptions::new(WriteOrigin::FlushTable)).unwrap();
        file.write_at(0, &content).unwrap();
        file.write_at(content_bytes as u64, &writer.finish()).unwrap();
        Protected { fs, content, parity }
    }

    fn file(&self) -> Arc<dyn File> {
        self.fs.open("f", OpenMode::ReadWrite).unwrap()
    }

    fn len(&self) -> u64 {
        self.content.len() as u64
    }

    fn all_bytes(&self) -> u64 {
        self.file().size_bytes().unwrap()
    }

    fn damage(&self, bytes: Range<u64>, how: impl Fn(u8) -> u8) {
        let file = self.file();
        let mut read = vec![0; (bytes.end - bytes.start) as usize];
        file.read_exact_at(bytes.start, &mut read).unwrap();
        read.iter_mut().for_each(|byte| *byte = how(*byte));
        file.write_at(bytes.start, &read).unwrap();
    }

    fn corrector(&self) -> Arc<Corrector> {
        Corrector::new(&self.file(), self.parity, self.len(), Rescue::default()).unwrap()
    }

    /// What is restored of some bytes, with a checksum to say whether it is right.
    fn restored(&self, bytes: Range<u64>) -> Option<Vec<u8>> {
        let (salt, at) = (Salt::of(Uuid([1; 16])), bytes.start);
        let expected = Checksum::of(&self.content[bytes.start as usize..bytes.end as usize], salt, at);
        self.corrector().retry(bytes, |read| match Checksum::of(read, salt, at) == expected {
            true => Ok(Vec::from(read)),
            false => Err(Corruption("another checksum")),
        })
    }

    fn findings(&self) -> Vec<ParityFinding> {
        let mut found = Vec::new();
        self.corrector().walk(&mut |finding| found.push(finding));
        found
    }

    fn assert_restored(&self, bytes: Range<u64>) {
        let expected = &self.content[bytes.start as usize..bytes.end as usize];
        assert_eq!(self.restored(bytes).as_deref(), Some(expected), "by {}", self.parity);
    }
}

#[test]
fn sizes_are_as_they_are_said_and_the_tail_tells_them() {
    for parity in schemes() {
        for len in [1, 7, 64, 4095, 4096, 4097, 65_536, 65_537, 200_000] {
            let file = Protected::new(parity, len);
            let all = file.all_bytes();
            assert_eq!(all, len as u64 + parity.trailer_bytes(len as u64), "{parity} of {len}");
            let mut tail = [0; ParityTail::BYTES];
            file.file().read_exact_at(all - ParityTail::BYTES as u64, &mut tail).unwrap();
            assert_eq!(ParityTail::decode(&tail, all), Ok(ParityTail { content_bytes: len as u64, parity }));
            assert!(ParityTail::decode(&tail, all + 1).is_err(), "of a file of this size only");
            for at in 0..tail.len() {
                let mut other = tail;
                other[at] ^= 1;
                assert!(ParityTail::decode(&other, all).is_err(), "byte {at}");
            }
            assert_eq!(file.findings(), []);
        }
    }
}

#[test]
fn parity_is_as_documented() {
    let mut writer = ParityWriter::new(Parity::SecDed);
    writer.write(b"sixteen bytes...");
    let parity = writer.finish();

    assert_golden("parity", include_str!("../../../testdata/golden/parity.hex"), &parity);
    assert_eq!(parity.len() as u64, Parity::SecDed.trailer_bytes(16));
}

#[test]
fn a_bit_anywhere_is_restored() {
    for parity in schemes() {
        for len in [1, 100, 5000, 70_000_usize] {
            let file = Protected::new(parity, len);
            for at in (0..len as u64).step_by(len.div_ceil(97)) {
                file.damage(at..at + 1, |byte| byte ^ 0x10);
                file.assert_restored(0..len as u64);
                file.assert_restored(at..at + 1);
                let found = file.findings();
                assert!(matches!(&found[..], [found] if found.bytes.contains(&at) && found.is_corrected));
                file.damage(at..at + 1, |byte| byte ^ 0x10);
            }
        }
    }
}

#[test]
fn every_byte_of_parity_is_looked_at() {
    for parity in schemes() {
        let file = Protected::new(parity, 5000);
        let all = file.all_bytes();
        for at in file.len()..all {
            file.damage(at..at + 1, |byte| byte ^ 4);
            let found = file.findings();
            assert!(matches!(&found[..], [found] if found.bytes.contains(&at) && found.is_corrected), "{at}");
            file.damage(at..at + 1, |byte| byte ^ 4);
        }
    }
}

#[test]
fn as_many_shards_as_there_are_of_parity_are_restored_and_not_one_more() {
    for parity in schemes() {
        let (data, spare) = match parity {
            Parity::Xor { data } => (u64::from(data), 1),
            Parity::ReedSolomon { data, parity } => (u64::from(data), u64::from(parity)),
            _ => continue,
        };
        // Whole stripes, and a short one.
        let file = Protected::new(parity, (2 * data * 4096) as usize + 700);
        for lost in 0..=data.min(spare + 1) {
            let range = 0..file.len();
            let shards: Vec<u64> = (0..lost).map(|at| at * data / lost).collect();
            for shard in &shards {
                file.damage(shard * 4096..(shard + 1) * 4096, |byte| !byte);
            }
            match lost <= spare {
                true => file.assert_restored(range),
                false => {
                    assert_eq!(file.restored(range), None, "{lost} shards of {parity}");
                    let found = file.findings();
                    assert_eq!(found.iter().filter(|found| !found.is_corrected).count() as u64, lost);
                    // What lies in other stripes is restored all the same.
                    file.assert_restored(data * 4096..file.len());
                }
            }
            for shard in &shards {
                file.damage(shard * 4096..(shard + 1) * 4096, |byte| !byte);
            }
        }
    }
}

#[test]
fn damaged_parity_is_told_and_counts_among_what_is_lost() {
    for parity in schemes() {
        let Parity::ReedSolomon { data: 2.., parity: spare } = parity else { continue };
        let file = Protected::new(parity, 40_000);
        let frames_at = file.len().next_multiple_of(4096);
        file.damage(frames_at + 10..frames_at + 11, |byte| !byte);
        assert!(
            matches!(&file.findings()[..], [found] if found.bytes.start == frames_at && found.is_corrected)
        );
        file.damage(0..1, |byte| !byte);
        file.assert_restored(0..100);
        // A frame is gone, so that one shard fewer may be.
        if spare == 2 {
            file.damage(4096..4097, |byte| !byte);
            assert_eq!(file.restored(0..100), None, "{parity}");
        }
    }
}

#[test]
fn two_bits_of_a_word_are_never_restored_wrongly() {
    let file = Protected::new(Parity::SecDed, 1000);
    for (first, second) in [(0, 1), (0, 7), (3, 5)] {
        file.damage(80 + first..81 + first, |byte| byte ^ 1);
        file.damage(80 + second..81 + second, |byte| byte ^ 1);
        assert_eq!(file.restored(64..128), None);
        file.assert_restored(88..1000);
        let found = file.findings();
        assert!(matches!(&found[..], [found] if found.bytes == (80..88) && !found.is_corrected), "{found:?}");
        file.damage(80 + first..81 + first, |byte| byte ^ 1);
        file.damage(80 + second..81 + second, |byte| byte ^ 1);
    }
}

#[test]
fn what_the_medium_does_not_read_is_a_lost_shard() {
    use crate::env::{Call, Errno, Fault, FaultFs, Rule};
    let parity = Parity::Xor { data: 8 };
    let protected = Protected::new(parity, 50_000);
    let faults = FaultFs::new(Arc::new(protected.fs.clone()));
    let file = faults.open("f", OpenMode::Read).unwrap();
    faults.arm(Rule::new(Fault::Fail(Errno::Io)).on(Call::Read).at(5000..5001));
    let corrector = Corrector::new(&file, parity, protected.len(), Rescue::default()).unwrap();
    let mut buffer = [0; 100];
    let error = file.read_exact_at(4990, &mut buffer).unwrap_err();
    assert_eq!(corrector.read(4990..5090, error).unwrap(), protected.content[4990..5090]);
}

#[test]
fn a_fault_that_passes_is_told_from_one_that_stays() {
    #[derive(Default)]
    struct Told(Mutex<Vec<(Range<u64>, bool)>>);
    impl CorrectionWatch for Told {
        fn corrected(&self, bytes: Range<u64>, persists: bool) {
            self.0.lock().unwrap().push((bytes, persists));
        }
    }
    let file = Protected::new(Parity::SecDed, 1000);
    let told = Arc::new(Told::default());
    let rescue = Rescue { watch: Some(told.clone()), copies: None };
    let corrector = Corrector::new(&file.file(), file.parity, file.len(), rescue).unwrap();
    let is_right = |bytes: &[u8]| match *bytes == file.content[8..16] {
        true => Ok(()),
        false => Err(Corruption("other bytes")),
    };
    // Whoever asks had read something else, but the medium is as it was written.
    assert_eq!(corrector.retry(8..16, is_right), Some(()));
    file.damage(8..9, |byte| byte ^ 2);
    assert_eq!(corrector.retry(8..16, is_right), Some(()));
    assert_eq!(corrector.retry(8..16, |_| Err::<(), _>(Corruption("never"))), None);
    assert_eq!(*told.0.lock().unwrap(), [(8..16, false), (8..16, true)], "and nothing of what was refused");
}

#[test]
fn schemes_are_read_as_they_were_stored_and_others_are_unknown() {
    for parity in schemes().into_iter().chain([Parity::None]) {
        assert_eq!(Parity::from_raw(parity.to_raw()), parity);
        assert_eq!(alloc::format!("{parity}").parse::<Parity>().unwrap(), parity);
        assert!(parity.validate().is_ok());
    }
    for raw in [[9, 1, 1], [1, 1, 0], [2, 1, 1], [2, 4, 2], [3, 0, 2], [3, 65, 2], [3, 4, 1], [3, 4, 17]] {
        assert_eq!(Parity::from_raw(raw), Parity::Unknown { raw });
        assert!(!Parity::from_raw(raw).is_available());
    }
    for text in
        ["", "xor", "xor:", "xor:1", "xor:256", "rs:16", "rs:16+1", "rs:0+2", "rs:65+2", "sec", "none "]
    {
        assert!(text.parse::<Parity>().is_err(), "{text:?}");
    }
}
