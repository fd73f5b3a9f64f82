//! Where Isopach stands among its peers: the rows that it loses, and the best peer of each.

use super::{Cell, Figures, Flag, ISOPACH, NOOP, Spread, Summary};
use crate::record::Report;

/// A peer that was faster than Isopach by more than the spread: in every round in which both ran.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss {
    pub workload: String,
    pub peer: String,
    pub measure: Measure,
    /// Operations per second.
    pub isopach_rate: f64,
    pub peer_rate: f64,
    /// Median over the rounds in which both ran of the peer's rate over Isopach's. Above 1.
    pub ratio: f64,
    /// Whether the peer keeps the promise that Isopach keeps in this row: no write that returned is lost by a
    /// kill.
    pub is_durable: bool,
    /// Whether one of the two was cut, so that they did not do the same.
    pub is_unequal: bool,
}

/// Which of the two rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    Done,
    Settled,
}

/// The fastest durable peer of a workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    pub workload: String,
    pub peer: String,
    /// Isopach's rate over the peer's: above 1, Isopach is faster.
    pub ratio: Spread,
    /// As [`Loss::is_unequal`].
    pub is_unequal: bool,
}

/// Workloads in which Isopach has no valid figure and a peer has one: worse than any loss.
pub fn absent(report: &Report) -> Vec<String> {
    let summary = Summary::of(report, ISOPACH);
    let has_peer = |workload: &str| peers(&summary).any(|(cell, _)| cell.workload.name == workload);
    let has_none = |cell: &&Cell<'_>| cell.engine.name == ISOPACH && cell.valid_figures().is_none();
    let names = summary.cells.iter().filter(has_none).map(|cell| cell.workload.name.clone());
    names.filter(|name| has_peer(name)).collect()
}

/// Worst first.
pub fn losses(report: &Report) -> Vec<Loss> {
    let summary = Summary::of(report, ISOPACH);
    let mut losses = Vec::new();
    for (cell, peer) in peers(&summary) {
        let Some(isopach) = summary.cell(&cell.workload.name, ISOPACH).and_then(Cell::valid_figures) else {
            continue;
        };
        let measures = [
            (Measure::Done, peer.ratio, Some(isopach.rate), Some(peer.rate)),
            (Measure::Settled, peer.settled_ratio, isopach.settled_rate, peer.settled_rate),
        ];
        for (measure, ratio, isopach_rate, peer_rate) in measures {
            let (Some(ratio), Some(isopach_rate), Some(peer_rate)) = (ratio, isopach_rate, peer_rate) else {
                continue;
            };
            if ratio.min > 1.0 {
                losses.push(Loss {
                    workload: cell.workload.name.clone(),
                    peer: cell.engine.name.clone(),
                    measure,
                    isopach_rate: isopach_rate.median,
                    peer_rate: peer_rate.median,
                    ratio: ratio.median,
                    is_durable: cell.is_durable(),
                    is_unequal: cell.flags.contains(&Flag::UnequalWork),
                });
            }
        }
    }
    losses.sort_by(|a, b| b.ratio.total_cmp(&a.ratio));
    losses
}

/// The worst loss of each workload against a durable peer, worst first; at most `count`.
pub fn worst(losses: &[Loss], count: usize) -> Vec<&Loss> {
    let mut worst: Vec<&Loss> = Vec::new();
    for loss in losses.iter().filter(|loss| loss.is_durable) {
        if worst.iter().all(|worse| worse.workload != loss.workload) {
            worst.push(loss);
        }
    }
    worst.truncate(count);
    worst
}

/// In the order of the workloads; those without Isopach or without a durable peer are absent.
pub fn best_peers(report: &Report) -> Vec<Best> {
    let summary = Summary::of(report, ISOPACH);
    let mut all: Vec<Best> = Vec::new();
    for workload in &report.workloads {
        let of_workload = peers(&summary).filter(|(cell, _)| cell.workload.name == workload.name);
        let ratios = of_workload.filter(|(cell, _)| cell.is_durable()).filter_map(|(cell, peer)| {
            Some((&cell.engine.name, peer.ratio.filter(|ratio| ratio.min > 0.0)?))
        });
        let Some((peer, _)) = ratios.max_by(|(_, a), (_, b)| a.median.total_cmp(&b.median)) else { continue };
        // The median of inverse ratios is not the inverse of their median.
        let inverse = Summary::of(report, peer);
        let Some(isopach) = inverse.cell(&workload.name, ISOPACH) else { continue };
        let is_unequal = isopach.flags.contains(&Flag::UnequalWork);
        let ratio = isopach.valid_figures().and_then(|figures| figures.ratio);
        all.extend(ratio.map(|ratio| Best {
            workload: workload.name.clone(),
            peer: peer.clone(),
            ratio,
            is_unequal,
        }));
    }
    all
}

/// Valid cells of every engine but Isopach and the one that does nothing.
fn peers<'s>(summary: &'s Summary<'_>) -> impl Iterator<Item = (&'s Cell<'s>, &'s Figures)> {
    summary
        .cells
        .iter()
        .filter(|cell| cell.engine.name != ISOPACH && cell.engine.name != NOOP)
        .filter_map(|cell| Some((cell, cell.valid_figures()?)))
}
