//! The measure itself.

use crate::turns;
use std::{hint::black_box, thread};
use testkit::allocations::{peak_of_process, peak_of_thread};

/// Frames of vectors, names of threads and the like.
const SMALL: usize = 64 << 10;

#[test]
fn the_peak_is_the_most_that_was_held_at_once() {
    let _turn = turns::beside_others();
    let (sum, bytes) = peak_of_thread(|| {
        let one_by_one: usize = (0..10).map(|_| black_box(vec![1_u8; 1 << 20]).len()).sum();
        let both = (black_box(vec![1_u8; 3 << 20]), black_box(vec![0_u8; 2 << 20]));
        one_by_one + both.0.len() + both.1.len()
    });

    assert_eq!(sum, 15 << 20);
    assert!((5 << 20..(5 << 20) + SMALL).contains(&bytes), "{bytes}");
}

#[test]
fn memory_that_grows_is_counted_once_and_what_was_held_before_is_not() {
    let _turn = turns::beside_others();
    let before = black_box(vec![1_u8; 8 << 20]);
    let (grown, bytes) = peak_of_thread(|| {
        let mut grown = Vec::with_capacity(1);
        (0..1 << 20).for_each(|_| grown.push(1_u8));
        grown
    });

    assert_eq!((before.len(), grown.len()), (8 << 20, 1 << 20));
    assert!((1 << 20..(2 << 20) + SMALL).contains(&bytes), "{bytes}");
}

#[test]
fn a_measurement_inside_of_another_takes_nothing_from_it() {
    let _turn = turns::beside_others();
    let (inner, outer) = peak_of_thread(|| {
        drop(black_box(vec![1_u8; 4 << 20]));
        let ((), inner) = peak_of_thread(|| drop(black_box(vec![1_u8; 1 << 20])));
        inner
    });

    assert!((1 << 20..(1 << 20) + SMALL).contains(&inner), "{inner}");
    assert!((4 << 20..(4 << 20) + SMALL).contains(&outer), "{outer}");
}

#[test]
fn other_threads_count_for_the_process_alone() {
    let _turn = turns::alone();
    let elsewhere = || {
        let work = thread::spawn(|| black_box(vec![1_u8; 64 << 20]).len());
        work.join().unwrap()
    };

    let (_, of_thread) = peak_of_thread(elsewhere);
    let (_, of_process) = peak_of_process(elsewhere);

    assert!(of_thread < SMALL, "{of_thread}");
    assert!(of_process >= 64 << 20, "{of_process}");
}
