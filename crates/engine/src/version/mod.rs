//! What exists: the shape of trees, the log of edits that leads to it, and the lives of files.
//!
//! Pure: [`Levels`], [`Catalog`], [`Change`]. Effects: [`Manifest`] makes edits durable, [`FileRegistry`]
//! alone removes files, [`TableRef`] is the counted handle of a table.

mod catalog;
mod damage;
mod edit;
mod ids;
mod levels;
mod life;
mod manifest;
mod registry;
mod run_cursor;
mod table_file;

pub(crate) use catalog::check_names;
pub use catalog::{Catalog, CatalogTree};
pub use damage::{DamageWatch, Watch};
pub use edit::{Change, Note, TablesChange, decode_edit, encode_edit};
pub use ids::{FileIds, new_uuid};
pub use levels::{Added, LEVELS, Levels, Run, RunAge};
pub use life::{Lease, Life};
pub(crate) use manifest::MANIFEST_PREFIX;
pub use manifest::{
    Manifest, NewUuid, Replayed, header_error, manifest_name, manifest_number, replay, temporary_number,
};
pub use registry::{DeletionPause, FileRegistry, Freed, Hold, Holder, LiveFile, RegistryStats};
pub use run_cursor::RunCursor;
pub use table_file::{TableContext, TableRef};
