//! What exists: the shape of trees, the log of edits that leads to it, and the lives of files.
//!
//! Pure: [`Levels`], [`Catalog`], [`Change`]. Effects: [`Manifest`] makes edits durable, [`FileRegistry`]
//! alone removes files, [`TableRef`] is the counted handle of a table.

mod blob_read_ahead;
mod blobs;
mod catalog;
mod damage;
mod dictionaries;
mod edit;
mod filter_ledger;
mod heal_hints;
mod ids;
mod levels;
mod life;
mod manifest;
mod registry;
mod routes;
mod run_cursor;
mod table_file;

pub use blob_read_ahead::BlobReadAhead;
pub use blobs::{BlobAccount, BlobFiles, BlobLedger, BlobRef};
pub use catalog::{Catalog, CatalogTree};
pub(crate) use catalog::{applied_upto, check_names};
pub use damage::{DamageWatch, Watch};
pub use dictionaries::{Dictionaries, DictionaryUse, NeededDictionary};
pub use edit::{Change, Note, TablesChange, decode_edit, encode_edit};
pub use filter_ledger::FilterLedger;
pub use heal_hints::{HealHints, HealStats, HealWatch, HealedFile, Healing};
pub use ids::{FileIds, new_uuid};
pub use levels::{Added, LEVELS, Levels, Run, RunAge};
pub use life::{Lease, Life};
pub(crate) use manifest::{MANIFEST_PREFIX, seal_of_manifest};
pub use manifest::{Manifest, NewUuid, Replayed, manifest_name, manifest_number, replay, temporary_number};
pub use registry::{DeletionPause, FileRegistry, Freed, Hold, Holder, LiveFile, RegistryStats};
pub use routes::{MAX_ROUTE_NAME_BYTES, MAX_ROUTES, PlacedRoute, Route, Routes};
pub use run_cursor::{CoveredPrefix, RunCursor};
pub use table_file::{Ancestor, TableContext, TableRef};
