//! Isopach beside every peer: the same work, measured the same way. How to run it: `README.md`.

mod process;
mod engine;
mod engines;
mod record;
mod summary;
mod table;
mod limits;
mod markdown;
mod compare;
mod svg;

use engine::Result;

fn main() -> Result<()> {
    let open = engines::find("isopach").unwrap();
    Ok(())
}
