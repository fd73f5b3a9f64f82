//! Dots of latency: for each workload of a group, one row for each engine, on one logarithmic axis.

use super::{
    axis::LogAxis,
    canvas::{Anchor, BODY_Y, Canvas, WIDTH},
    colour_class, engines, workload_heading,
};
use crate::record::{EngineInfo, Latency, WorkloadInfo};
use crate::summary::{Summary, group::Group};
use crate::table::{headline, number};

const NAME_RIGHT: f64 = 156.0;
const AXIS_LEFT: f64 = 168.0;
const AXIS_RIGHT: f64 = 750.0;
const ROW_HEIGHT: f64 = 17.0;
const HEADING_HEIGHT: f64 = 12.0;
const GAP: f64 = 26.0;

type Line<'a> = (&'a EngineInfo, Latency);

/// `None` if no workload of the group has latencies that count.
pub fn draw(summary: &Summary<'_>, group: Group, workloads: &[&WorkloadInfo]) -> Option<String> {
    let blocks: Vec<(&WorkloadInfo, Vec<Line<'_>>)> =
        workloads.iter().map(|workload| (*workload, lines(summary, workload))).collect();
    let blocks: Vec<_> = blocks.into_iter().filter(|(_, lines)| !lines.is_empty()).collect();
    let values = blocks.iter().flat_map(|(_, lines)| lines).flat_map(|(_, latency)| percentiles(latency));
    let axis = LogAxis::around(values, [AXIS_LEFT, AXIS_RIGHT])?;

    let notes = [
        "Time of single operations: p50 (full dot), p99 (ring), p99.9 (small dot); medians of the rounds.",
        "Logarithmic axis. Less is better.",
    ];
    let mut canvas = Canvas::new(&format!("Latency: {}", group.title()), &notes);
    let top = BODY_Y + 20.0;
    let heights = blocks.iter().map(|(_, lines)| height(lines));
    let bottom = top + heights.sum::<f64>() + GAP * (blocks.len() - 1) as f64;
    axis.draw(&mut canvas, top - 14.0, bottom, |tick| number::duration(tick).replace(".0", ""));
    let mut y = top;
    for (workload, lines) in &blocks {
        workload_heading(&mut canvas, workload, y + 4.0);
        for (index, line) in lines.iter().enumerate() {
            let middle = y + HEADING_HEIGHT + ROW_HEIGHT * (index as f64 + 0.5);
            draw_line(&mut canvas, summary, &axis, line, middle);
        }
        y += height(lines) + GAP;
    }
    Some(canvas.finish(bottom, &headline(summary.report)))
}

fn lines<'a>(summary: &'a Summary<'_>, workload: &WorkloadInfo) -> Vec<Line<'a>> {
    engines(summary.report)
        .filter_map(|engine| {
            let figures = summary.cell(&workload.name, &engine.name)?.valid_figures()?;
            Some((engine, figures.latency?))
        })
        .collect()
}

fn height(lines: &[Line<'_>]) -> f64 {
    HEADING_HEIGHT + ROW_HEIGHT * lines.len() as f64
}

fn draw_line(canvas: &mut Canvas, summary: &Summary<'_>, axis: &LogAxis, line: &Line<'_>, middle: f64) {
    let (engine, latency) = line;
    let class = colour_class(summary.report, engine);
    let name_class = if class == "isopach" { "strong" } else { "" };
    canvas.text(NAME_RIGHT, middle + 4.0, Anchor::End, name_class, &engine.name);
    let [p50, p99, p999] = percentiles(latency).map(|ns| axis.x(ns));
    canvas.line((p50, middle), (p999, middle), &class);
    canvas.dot(p50, middle, 4.5, &class);
    canvas.dot(p99, middle, 4.0, &format!("{class} hollow"));
    canvas.dot(p999, middle, 2.5, &class);
    let label = percentiles(latency).map(number::duration).join(" / ");
    canvas.text(WIDTH - 16.0, middle + 4.0, Anchor::End, "small", &label);
}

/// A clock that saw no time pass still has its place on the axis.
fn percentiles(latency: &Latency) -> [f64; 3] {
    [latency.p50, latency.p99, latency.p999].map(|ns| ns.max(1) as f64)
}
