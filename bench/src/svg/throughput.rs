//! Bars of throughput: for each workload of a group, one bar for each engine.

use super::{
    canvas::{Anchor, BODY_Y, Canvas},
    colour_class, engines, remarks, workload_heading,
};
use crate::record::WorkloadInfo;
use crate::summary::{Cell, Summary, group::Group};
use crate::table::{headline, number};

const NAME_RIGHT: f64 = 156.0;
const BARS_LEFT: f64 = 164.0;
const BARS_WIDTH: f64 = 470.0;
const ROW_HEIGHT: f64 = 17.0;
const BAR_HEIGHT: f64 = 11.0;
const HEADING_HEIGHT: f64 = 12.0;
const GAP: f64 = 26.0;

/// `None` if no workload of the group has a figure that counts.
pub fn draw(summary: &Summary<'_>, group: Group, workloads: &[&WorkloadInfo]) -> Option<String> {
    let notes = [
        "Operations per second, median of the rounds, ± half of their range; whiskers: slowest and fastest round.",
        "Every workload has its own scale, from 0. More is better.",
    ];
    let mut canvas = Canvas::new(&format!("Throughput: {}", group.title()), &notes);
    let mut y = BODY_Y;
    let mut workloads_count = 0;
    for workload in workloads {
        let cells: Vec<&Cell<'_>> =
            engines(summary.report).filter_map(|engine| summary.cell(&workload.name, &engine.name)).collect();
        let rates = cells.iter().filter_map(|cell| Some(cell.valid_figures()?.rate.max));
        let highest = rates.fold(0.0, f64::max);
        if highest > 0.0 {
            y = draw_workload(&mut canvas, summary, workload, &cells, highest, y) + GAP;
            workloads_count += 1;
        }
    }
    (workloads_count > 0).then(|| canvas.finish(y - GAP, &headline(summary.report)))
}

/// Where it ends.
fn draw_workload(
    canvas: &mut Canvas,
    summary: &Summary<'_>,
    workload: &WorkloadInfo,
    cells: &[&Cell<'_>],
    highest: f64,
    top: f64,
) -> f64 {
    workload_heading(canvas, workload, top + 4.0);
    let first = top + HEADING_HEIGHT;
    let bottom = first + ROW_HEIGHT * cells.len() as f64;
    for (index, cell) in cells.iter().enumerate() {
        let y = first + ROW_HEIGHT * index as f64;
        let middle = y + ROW_HEIGHT / 2.0;
        let class = colour_class(summary.report, cell.engine);
        let name_class = if class == "isopach" { "strong" } else { "" };
        canvas.text(NAME_RIGHT, middle + 4.0, Anchor::End, name_class, &cell.engine.name);
        let remarks = remarks(cell);
        let Some(figures) = cell.valid_figures() else {
            canvas.text(BARS_LEFT + 6.0, middle + 4.0, Anchor::Start, "small dim", &remarks);
            continue;
        };
        let x = |rate: f64| BARS_LEFT + rate / highest * BARS_WIDTH;
        canvas.bar(
            BARS_LEFT,
            middle - BAR_HEIGHT / 2.0,
            x(figures.rate.median) - BARS_LEFT,
            BAR_HEIGHT,
            &class,
        );
        let mut label = number::short(figures.rate.median);
        if figures.rounds_count > 1 {
            canvas.whisker(x(figures.rate.min), x(figures.rate.max), middle);
            label += &format!(" ±{:.0}%", figures.rate.percent());
        }
        if !remarks.is_empty() {
            label += &format!(", {remarks}");
        }
        canvas.text(x(figures.rate.max) + 8.0, middle + 4.0, Anchor::Start, "small", &label);
    }
    canvas.line((BARS_LEFT, first), (BARS_LEFT, bottom), "base");
    bottom
}
