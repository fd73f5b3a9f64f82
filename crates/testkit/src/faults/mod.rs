//! The fault explorer: one call that fails at every place where one is made, then pairs of them, under a
//! script of everything that a database does.
//!
//! [`Explorer`] learns from a clean run which calls there are, makes cases of them and runs each; a [`Case`]
//! is a few rules, and its text runs it again. What must hold is in [`case`](self::Case) and in the book of
//! promises.

mod book;
mod case;
mod explorer;
mod script;
mod sites;

pub use book::{Book, Change};
pub use case::{Case, Outcome};
pub use explorer::{Explorer, Report};
pub use sites::{Pick, Site};
