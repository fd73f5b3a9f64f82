//! Operands of one key in a row, in a job: what becomes of them once it is known what the last one stands on.

use super::fate::Ground;
use crate::{
    iter::EntryChecksum,
    key::ValueKind,
    merge_operator::{MergeOperator, folded, merged},
    types::{Seqno, Slice},
};
use alloc::vec::Vec;

/// A version that is held, as its cursor went on.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) seqno: Seqno,
    pub(super) kind: ValueKind,
    pub(super) value: Slice,
    /// That came with it.
    pub(super) checksum: Option<EntryChecksum>,
}

impl Held {
    fn made(seqno: Seqno, kind: ValueKind, value: Vec<u8>) -> Held {
        Held { seqno, kind, value: value.into(), checksum: None }
    }
}

/// What becomes of operands, newest first, of which the last stands on `ground`, with `base` as its value; `None`:
/// it is not known on what. One version where that can be, else the operands as they are, newest first.
///
/// An operator that fails keeps them: who reads them is told why.
pub(super) fn resolve(
    operator: Option<&dyn MergeOperator>,
    key: &[u8],
    operands: Vec<Held>,
    ground: Option<Ground>,
    base: Option<&[u8]>,
) -> Vec<Held> {
    let Some(operator) = operator else { return operands };
    let newest = operands[0].seqno;
    let oldest_first: Vec<&[u8]> = operands.iter().rev().map(|operand| &*operand.value).collect();
    let made = match ground {
        Some(_) => {
            merged(operator, key, base, &oldest_first).map(|value| Held::made(newest, ValueKind::Put, value))
        }
        None if operands.len() > 1 && operator.is_associative() => {
            folded(operator, key, &oldest_first).map(|value| Held::made(newest, ValueKind::Merge, value))
        }
        None => return operands,
    };
    match made {
        Ok(made) => Vec::from([made]),
        Err(_) => operands,
    }
}
