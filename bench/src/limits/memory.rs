//! Memory: copies, hops, and the clock.

use super::{BATCHES_COUNT, Effort, best_ns, limit};
use crate::record::Limit;
use std::{hint::black_box, time::Instant};

pub fn measure(effort: &Effort) -> Vec<Limit> {
    let clock_ns = best_ns(effort.calls_count, |_| {
        black_box(Instant::now());
        Ok(())
    });
    vec![
        limit("memcpy", "64 MiB to 64 MiB; best of 5", copy_gigabytes_per_second(effort), "GB/s"),
        limit(
            "memory hop",
            "each load's address from the one before, 256 MiB at random; best of 5 batches",
            hop_ns(effort),
            "ns",
        ),
        limit("clock", "Instant::now; best of 5 batches", clock_ns.unwrap_or(f64::NAN), "ns"),
    ]
}

fn copy_gigabytes_per_second(effort: &Effort) -> f64 {
    let from = vec![1_u8; effort.copy_bytes];
    let mut to = vec![2_u8; effort.copy_bytes];
    let seconds = (0..BATCHES_COUNT).map(|_| {
        let begin = Instant::now();
        to.copy_from_slice(black_box(&from));
        black_box(&mut to);
        begin.elapsed().as_secs_f64()
    });
    effort.copy_bytes as f64 / 1e9 / seconds.fold(f64::INFINITY, f64::min)
}

/// A cache line that names the next one.
#[repr(align(64))]
struct Line {
    next: u32,
}

fn hop_ns(effort: &Effort) -> f64 {
    let lines_count = (effort.hop_bytes / size_of::<Line>()) as u32;
    let mask = lines_count - 1;
    debug_assert!(lines_count.is_power_of_two());
    // One cycle through all lines: a linear congruential generator modulo a power of two has its full period
    // if the factor is 1 modulo 4 and the summand odd (Hull and Dobell, 1962).
    let follower = |line: u32| line.wrapping_mul(2_891_336_453).wrapping_add(12_345) & mask;
    let lines: Vec<Line> = (0..lines_count).map(|line| Line { next: follower(line) }).collect();
    let mut at = 0;
    best_ns(effort.calls_count * 10, |_| {
        at = lines[at as usize].next;
        black_box(at);
        Ok(())
    })
    .unwrap_or(f64::NAN)
}
