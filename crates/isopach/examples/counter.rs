//! Counters that nobody reads to add to: visits of pages, counted by several threads at once.

use isopach::{Db, KeyspaceOptions, merge::AddU64};
use std::{error::Error, thread};

const THREADS: u64 = 4;
const VISITS: u64 = 10_000;

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("isopach-counter-{}", std::process::id()));
    let db = Db::open(&dir)?;
    let visits = db.keyspace_with("visits", KeyspaceOptions::new().merge_operator(&AddU64))?;

    // An addition is one write. No thread waits for another's, and none is lost.
    thread::scope(|scope| {
        let count = || {
            for visit in 0..VISITS {
                let page = format!("/page/{}", visit % 10);
                visits.merge(page, 1_u64.to_le_bytes())?;
            }
            Ok::<(), isopach::Error>(())
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(count)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("counting does not panic"))
    })?;

    let mut total = 0;
    for entry in visits.prefix("/page/") {
        let (page, count) = entry?;
        let count = u64::from_le_bytes(count[..].try_into()?);
        println!("{page:?} was visited {count} times");
        total += count;
    }
    assert_eq!(total, THREADS * VISITS);

    // Compaction leaves of all these additions one number a page.
    visits.compact_range(..)?;
    assert_eq!(visits.approximate_len(), 10);
    db.close()?;
    Ok(std::fs::remove_dir_all(dir)?)
}
