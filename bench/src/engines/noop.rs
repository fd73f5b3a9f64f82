//! Does nothing: what is left is the bench's own cost.

use crate::engine::{Abilities, Buffered, Engine, Result, Scan, Settings, Settled};
use std::path::Path;

struct Noop;

/// Ignores everything.
pub fn open(_dir: &Path, _settings: &Settings) -> Result<Box<dyn Engine>> {
    Ok(Box::new(Noop))
}

impl Engine for Noop {
    fn abilities(&self) -> Abilities {
        Abilities {
            buffered: Buffered::NoLog,
            sync: true,
            keyspaces: true,
            merge: true,
            range_delete: true,
            multi_get: true,
            settle: true,
        }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn insert(&self, _: usize, key: &[u8], value: &[u8]) -> Result<()> {
        std::hint::black_box((key, value));
        Ok(())
    }

    fn insert_batch(&self, _: usize, entries: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        std::hint::black_box(entries);
        Ok(())
    }

    fn remove(&self, _: usize, key: &[u8]) -> Result<()> {
        std::hint::black_box(key);
        Ok(())
    }

    fn get(&self, _: usize, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        see(std::hint::black_box(key));
        Ok(true)
    }

    fn scan(&self, _: usize, scan: Scan<'_>, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<usize> {
        let from = std::hint::black_box(scan.from.unwrap_or_default());
        for _ in 0..scan.limit {
            see(from, from);
        }
        Ok(scan.limit)
    }

    fn merge(&self, _: usize, key: &[u8], operand: u64) -> Result<()> {
        std::hint::black_box((key, operand));
        Ok(())
    }

    fn remove_range(&self, _: usize, from: &[u8], to: &[u8]) -> Result<()> {
        std::hint::black_box((from, to));
        Ok(())
    }

    fn settle(&self) -> Result<Settled> {
        Ok(Settled::now())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
