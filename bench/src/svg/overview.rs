//! One bar for each workload: Isopach's throughput over that of the best durable peer.

use super::{
    axis::LogAxis,
    canvas::{Anchor, BODY_Y, Canvas},
};
use crate::record::Report;
use crate::summary::standing::best_peers;
use crate::table::{headline, number};

const NAME_RIGHT: f64 = 182.0;
const AXIS_LEFT: f64 = 194.0;
const AXIS_RIGHT: f64 = 780.0;
const LABEL_LEFT: f64 = 796.0;
const ROW_HEIGHT: f64 = 20.0;
const BAR_HEIGHT: f64 = 12.0;

/// `None` if there is no workload that both Isopach and a durable peer did.
pub fn draw(report: &Report) -> Option<String> {
    let bests = best_peers(report);
    if bests.is_empty() {
        return None;
    }
    // Some room on both sides of 1, also where Isopach is always ahead or always behind.
    let values = bests.iter().flat_map(|best| [best.ratio.min, best.ratio.max]).chain([0.5, 2.0]);
    let axis = LogAxis::around(values, [AXIS_LEFT, AXIS_RIGHT])?;

    let notes = [
        "Throughput of Isopach over that of the best peer that loses no write when killed; median of rounds.",
        "Logarithmic axis; whiskers: lowest and highest round. Right of 1x Isopach is faster: more is better.",
    ];
    let mut canvas = Canvas::new("Isopach and the best durable peer", &notes);
    let top = BODY_Y + 14.0;
    let bottom = top + ROW_HEIGHT * bests.len() as f64;
    axis.draw(&mut canvas, top, bottom, tick_label);
    let one = axis.x(1.0);
    for (index, best) in bests.iter().enumerate() {
        let middle = top + ROW_HEIGHT * (index as f64 + 0.5);
        canvas.text(NAME_RIGHT, middle + 4.0, Anchor::End, "", &best.workload);
        let x = axis.x(best.ratio.median);
        let class = if best.ratio.median >= 1.0 { "ahead" } else { "behind" };
        canvas.bar(x.min(one), middle - BAR_HEIGHT / 2.0, (x - one).abs(), BAR_HEIGHT, class);
        if best.ratio.max > best.ratio.min {
            canvas.whisker(axis.x(best.ratio.min), axis.x(best.ratio.max), middle);
        }
        let about = if best.is_unequal { "~" } else { "" };
        let label = format!("{about}{} {}", number::ratio(best.ratio.median), best.peer);
        canvas.text(LABEL_LEFT, middle + 4.0, Anchor::Start, "small", &label);
    }
    canvas.line((one, top), (one, bottom), "base");
    Some(canvas.finish(bottom, &headline(report)))
}

/// `0.001x`, `0.5x`, `20x`.
fn tick_label(ratio: f64) -> String {
    let decimals = (-ratio.log10().floor()).max(0.0) as usize;
    format!("{ratio:.decimals$}x")
}

#[cfg(test)]
mod tests {
    use super::tick_label;

    #[test]
    fn tick_labels_have_no_more_digits_than_they_need() {
        assert_eq!([0.001, 0.05, 0.5, 1.0, 200.0].map(tick_label), ["0.001x", "0.05x", "0.5x", "1x", "200x"]);
    }
}
