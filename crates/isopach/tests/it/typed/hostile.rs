//! Bytes of others: refused, or the one encoding of what they are taken for. Their memory is measured with
//! the target `typed` of `testkit::fuzz`.

use isopach::{ErrorKind, typed::Key};
use std::cmp::Reverse;
use testkit::{Rng, seeds};

fn check<K: Key>(bytes: &[u8]) -> bool {
    match K::from_key_bytes(bytes) {
        Ok(key) => {
            assert_eq!(key.to_key_bytes(), bytes, "one key has one encoding");
            true
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corruption);
            false
        }
    }
}

#[test]
fn hostile_bytes_are_refused_or_the_one_encoding_of_a_key() {
    let checks: [fn(&[u8]) -> bool; 12] = [
        check::<bool>,
        check::<(u8, i8)>,
        check::<f32>,
        check::<char>,
        check::<String>,
        check::<Vec<u8>>,
        check::<[u8; 3]>,
        check::<Option<Option<u8>>>,
        check::<Reverse<String>>,
        check::<(String, Reverse<Vec<u8>>)>,
        check::<(Option<String>, (bool, Vec<u8>))>,
        check::<Reverse<(Vec<u8>, Reverse<Option<Vec<u8>>>)>>,
    ];
    let mut taken = [0; 12];

    for seed in seeds(3) {
        let mut rng = Rng::new(seed);
        for _ in 0..20_000 {
            let few = [0, 1, 0xFF, 0xFE, b'a', rng.word() as u8];
            let bytes: Vec<u8> = (0..rng.below(9)).map(|_| *rng.pick(&few)).collect();
            for (taken, check) in taken.iter_mut().zip(checks) {
                *taken += u32::from(check(&bytes));
            }
        }
    }

    assert!(taken.iter().all(|&taken| taken > 0), "each type took some: {taken:?}");
}
