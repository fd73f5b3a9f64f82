//! What the session asks a child process to do: JSON on the child's standard input.

use crate::{
    engine::Abilities,
    record::{Outcome, Plan},
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// `bench row`: measures one row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RowRequest {
    pub engine: String,
    pub workload: String,
    pub round: u32,
    pub plan: Plan,
    /// Empty, or a copy of the workload's base.
    pub dir: PathBuf,
    /// Of the text keys.
    pub paths: Option<PathBuf>,
    /// Whether the process may end by a kill of itself, when the row is measured.
    pub may_be_killed: bool,
}

/// `bench check`: opens what a row left that was killed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckRequest {
    pub row: RowRequest,
    /// Records that were written, each once.
    pub written_count: u64,
}

/// The last line that `bench check` prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckAnswer {
    /// What was lost or is wrong.
    pub wrong: Option<String>,
}

/// `bench load`: makes a database that rows begin with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadRequest {
    pub engine: String,
    pub kind: LoadKind,
    /// The first that needs it: its settings and data are the database's.
    pub workload: String,
    pub plan: Plan,
    pub dir: PathBuf,
    pub paths: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadKind {
    /// Nothing: the engine says what it is.
    Introduce,
    /// The workload's [`Base`](crate::workload::Base); for one with holes, `dir` is a copy of the loaded one.
    Base,
    /// Records that are not flushed; then it waits to be killed.
    Unflushed,
}

/// The last line that `bench row` prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RowAnswer {
    pub outcome: Outcome,
    /// Whether the process kills itself now.
    pub is_killed: bool,
}

/// The last line that `bench load` prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadAnswer {
    pub abilities: Abilities,
    /// Name and value.
    pub settings: Vec<(String, String)>,
}
