//! A B-link tree of key heads: the index of a memtable, shared by writers and readers without a lock between
//! them. All of its unsafe code lies below this module.
//!
//! After Lehman and Yao, "Efficient Locking for Concurrent Operations on B-Trees" (1981): every node knows
//! the least record of its right neighbour, its *high*, and the neighbour itself, so whoever comes to a node
//! that was split meanwhile goes on to the right. Readers are optimistic, as in Leis et al., "The ART of
//! Practical Synchronization" (2016): they write nothing, and look at the node's version before and after.
//! Nothing is ever removed from a tree, so no node and no record goes before the whole tree does.
//!
//! # Nodes
//!
//! A node holds up to `N` records in order, each as a pointer and as its key's *head*: eight bytes of the
//! key, as a number, behind a *prefix* that all keys of the node share. Most comparisons are of heads, which
//! lie side by side; a record is looked at only where heads are equal. A prefix is found anew when many heads
//! are.
//!
//! # Order of memory
//!
//! - A writer takes a node by making its version odd, passes a `Release` fence and changes it; the next even
//!   version is stored with `Release`. A reader loads an even version (`Acquire`), then whatever it needs,
//!   passes an `Acquire` fence and loads the version again. If both are the same, nothing was changed in
//!   between that it saw, and all that it saw was there before the version. Until then it follows no pointer
//!   to another node: who went too far right never comes back.
//! - Records are looked at before that, to compare keys. So a record is written before its writer takes the
//!   node, and thus before the fence; and pointers to records are loaded with `Acquire`.
//! - The root is stored with `Release` and loaded with `Acquire`, as no version stands before it.
//!
//! The workspace `models` explores what follows from this, and plants bugs in it that must be found.

#![allow(unsafe_code)]

mod arena;
mod cursor;
mod node;
mod record;
#[cfg(test)]
mod tests;
mod tree;

pub(crate) use cursor::BlinkCursor;
pub(crate) use tree::Blink;
