//! Times: each case in turn, one line each.

use crate::{
    chosen,
    meter::{Meter, Purpose},
};

/// Prints the times of cases: nanoseconds an item as the median of rounds, the least, and the spread: how far
/// the middle half of the rounds is apart, in percent of the median.
///
/// # Errors
///
/// As [`chosen`].
pub fn run(names: &[&str]) -> Result<(), String> {
    let cases = chosen(names, |_| true)?;
    println!("{:<28} {:>10} {:>10} {:>8} {:>7}  an item is", "case", "ns/item", "least", "spread", "rounds");
    for case in cases {
        let mut meter = Meter::new(Purpose::Times);
        (case.run)(&mut meter);
        let mut rounds = meter.rounds_ns;
        rounds.sort_by(f64::total_cmp);
        let at = |part: f64| rounds[(part * (rounds.len() - 1) as f64).round() as usize];
        let spread = (at(0.75) - at(0.25)) / at(0.5) * 100.0;
        println!(
            "{:<28} {:>10.1} {:>10.1} {:>6.1} % {:>7}  {}",
            case.name,
            at(0.5),
            at(0.0),
            spread,
            rounds.len(),
            case.item
        );
    }
    Ok(())
}
