//! Which chart a workload belongs to.

use crate::record::WorkloadInfo;

/// In the order in which charts are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Fills,
    Synced,
    Reads,
    Scans,
    Ycsb,
    Large,
    Other,
}

impl Group {
    pub const ALL: [Group; 7] =
        [Group::Fills, Group::Synced, Group::Reads, Group::Scans, Group::Ycsb, Group::Large, Group::Other];

    /// By name; by the unit of its operations where the name says nothing.
    pub fn of(workload: &WorkloadInfo) -> Group {
        const PARTS: [(Group, &[&str]); 5] = [
            (Group::Ycsb, &["ycsb"]),
            (Group::Large, &["16k", "large"]),
            (Group::Scans, &["scan", "seek", "readseq", "readreverse"]),
            (Group::Reads, &["read", "get"]),
            (Group::Fills, &["fill", "write", "load", "batch", "merge", "del", "remove", "update", "insert"]),
        ];
        if workload.is_synced {
            return Group::Synced;
        }
        let of = |text: &str| {
            PARTS.iter().find(|(_, parts)| parts.iter().any(|part| text.contains(part))).map(|(of, _)| *of)
        };
        of(&workload.name).or_else(|| of(&workload.unit)).unwrap_or(match workload.unit.as_str() {
            "put" => Group::Fills,
            _ => Group::Other,
        })
    }

    /// As in the names of files.
    pub fn name(self) -> &'static str {
        match self {
            Group::Fills => "fills",
            Group::Synced => "synced",
            Group::Reads => "reads",
            Group::Scans => "scans",
            Group::Ycsb => "ycsb",
            Group::Large => "large",
            Group::Other => "other",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Group::Fills => "Writing",
            Group::Synced => "Writing, every commit on the medium",
            Group::Reads => "Reading by key",
            Group::Scans => "Seeking and scanning",
            Group::Ycsb => "YCSB mixes",
            Group::Large => "Large values",
            Group::Other => "Other workloads",
        }
    }
}
