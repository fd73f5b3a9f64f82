//! A logarithmic axis from left to right.

use super::canvas::{Anchor, Canvas};

pub struct LogAxis {
    low: f64,
    high: f64,
    left: f64,
    right: f64,
}

impl LogAxis {
    /// Holds all `values` above 0, and some room on both sides. `None` if there is none.
    pub fn around(values: impl IntoIterator<Item = f64>, [left, right]: [f64; 2]) -> Option<LogAxis> {
        const ROOM: f64 = 1.15;
        let values = values.into_iter().filter(|value| *value > 0.0 && value.is_finite());
        let (low, high) = values
            .fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), value| (low.min(value), high.max(value)));
        (high > 0.0).then_some(LogAxis { low: low / ROOM, high: high * ROOM, left, right })
    }

    /// Where a value stands; at an end if it lies beyond.
    pub fn x(&self, value: f64) -> f64 {
        let value = value.clamp(self.low, self.high);
        let share = (value / self.low).ln() / (self.high / self.low).ln();
        self.left + share * (self.right - self.left)
    }

    /// Rules from `top` to `bottom` with their labels above.
    pub fn draw(&self, canvas: &mut Canvas, top: f64, bottom: f64, label: impl Fn(f64) -> String) {
        for tick in self.ticks() {
            let x = self.x(tick);
            canvas.line((x, top), (x, bottom), "rule");
            canvas.text(x, top - 6.0, Anchor::Middle, "small dim", &label(tick));
        }
    }

    /// 1, 2 and 5 of each decade; 1 alone if there are many decades.
    fn ticks(&self) -> Vec<f64> {
        let decades = (self.high / self.low).log10();
        let steps: &[f64] = if decades > 3.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let first = self.low.log10().floor() as i32;
        let last = self.high.log10().ceil() as i32;
        let all = (first..=last).flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
        all.filter(|tick| (self.low..=self.high).contains(tick)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_ratios_are_equally_far_apart() {
        let axis = LogAxis::around([1.0, 100.0], [0.0, 100.0]).unwrap();

        assert!((axis.x(10.0) - 50.0).abs() < 1e-6);
        assert!((axis.x(10.0) - axis.x(5.0) - (axis.x(4.0) - axis.x(2.0))).abs() < 1e-6);
        assert_eq!(axis.x(1e9), 100.0);
    }

    #[test]
    fn ticks_are_round_and_inside() {
        let few = LogAxis::around([0.5, 4.0], [0.0, 1.0]).unwrap();
        let many = LogAxis::around([1.0, 9_999.0], [0.0, 1.0]).unwrap();

        assert_eq!(few.ticks(), [0.5, 1.0, 2.0]);
        assert_eq!(many.ticks(), [1.0, 10.0, 100.0, 1_000.0, 10_000.0]);
    }

    #[test]
    fn axis_of_nothing_is_none() {
        assert!(LogAxis::around([0.0, -1.0, f64::NAN], [0.0, 1.0]).is_none());
    }
}
