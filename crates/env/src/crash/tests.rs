//! What a power loss may leave: by hand, and against an oracle that enumerates.

mod images;
mod oracle;
mod steps;

use super::*;
use crate::{
    error::IoErrorKind,
    file::{CreateOptions, File, OpenMode, SyncMode},
    fs::Fs,
    ledger::WriteOrigin,
};
use alloc::{collections::BTreeMap, string::String};

const SITE: SyncSite = SyncSite("test");

/// Every name with its content; directories end in `/` and have none.
type Tree = BTreeMap<String, Vec<u8>>;

fn make(fs: &CrashFs, name: &str, content: &[u8]) -> Arc<dyn File> {
    let file = fs.create(name, &CreateOptions::new(WriteOrigin::Log)).expect("a new name");
    file.write_at(0, content).expect("no limit");
    file
}

fn open(fs: &CrashFs, name: &str) -> Arc<dyn File> {
    fs.open(name, OpenMode::ReadWrite).expect("exists")
}

fn sync(file: &Arc<dyn File>) {
    file.sync(SyncMode::Durable, SITE).expect("in memory");
}

fn content_of(fs: &CrashFs, name: &str) -> Option<Vec<u8>> {
    let file = fs.open(name, OpenMode::Read).ok()?;
    let mut bytes = alloc::vec![0xEE; file.size_bytes().expect("in memory") as usize];
    file.read_exact_at(0, &mut bytes).expect("as many as there are");
    Some(bytes)
}

fn tree(fs: &CrashFs) -> Tree {
    let mut tree = Tree::new();
    let mut waiting = Vec::from([String::new()]);
    while let Some(dir) = waiting.pop() {
        for entry in fs.list(&dir).expect("was listed") {
            let name = if dir.is_empty() { entry.name } else { alloc::format!("{dir}/{}", entry.name) };
            if entry.is_dir {
                tree.insert(alloc::format!("{name}/"), Vec::new());
                waiting.push(name);
            } else {
                let content = content_of(fs, &name).expect("was listed");
                tree.insert(name, content);
            }
        }
    }
    tree
}

/// Each piece by itself, and nothing torn.
const PIECES: Survival = Survival::Pieces { keep_percent: 50, damage: Damage::None };

/// Every outcome over many images, each once.
fn outcomes<T: Ord>(fs: &CrashFs, of: impl Fn(&CrashFs) -> T) -> BTreeSet<T> {
    (0..300).map(|seed| of(&fs.crash_with(PIECES, seed))).collect()
}
