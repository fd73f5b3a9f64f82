//! What the kernel knows of this process: I/O, CPU time, waiting, memory.

use crate::Result;
use std::fs;

/// `/proc/self/io`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Io {
    /// Given to write calls.
    pub write_call_bytes: u64,
    /// Given to the block layer.
    pub written_bytes: u64,
}

impl Io {
    pub fn now() -> Result<Io> {
        let text = fs::read_to_string("/proc/self/io")?;
        let field = |name: &str| -> Result<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            Ok(line.ok_or_else(|| format!("/proc/self/io has no {name}"))?.trim().parse()?)
        };
        Ok(Io { write_call_bytes: field("wchar")?, written_bytes: field("write_bytes")? })
    }
}
