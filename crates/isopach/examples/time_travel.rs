//! What was, and who changed it: the past of a database is looked at by number and by time.

use isopach::{Db, KeepVersions, KeyspaceOptions, env::TestClock};
use std::{error::Error, sync::Arc, time::Duration};

const HOUR: Duration = Duration::from_secs(3600);

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("isopach-travel-{}", std::process::id()));
    // A clock that the example can move. A program leaves the clock of the system in place.
    let clock = TestClock::new();
    let db = Db::builder(&dir).clock(Arc::new(clock.clone())).open()?;
    let options = KeyspaceOptions::new().keep_versions(KeepVersions::For(24 * HOUR));
    let prices = db.keyspace_with("prices", options)?;

    let mut changes = Vec::new();
    for price in ["100", "90", "95"] {
        changes.push((prices.insert("tea", price)?, db.snapshot().time()));
        clock.advance(HOUR);
    }
    prices.remove("tea")?;
    db.flush()?;
    prices.compact_range(..)?;
    assert_eq!(prices.get("tea")?, None, "tea is no longer sold");

    // Compaction has kept what the last day can be asked for.
    for (price, (seqno, time)) in ["100", "90", "95"].iter().zip(changes) {
        let by_number = prices.at(&db.snapshot_at(seqno)?).get("tea")?.expect("it was there");
        let by_time = prices.at(&db.snapshot_at_time(time)?).get("tea")?.expect("it was there");
        println!("at commit {seqno} tea cost {}", String::from_utf8_lossy(&by_number));
        assert_eq!((&by_number[..], &by_time[..]), (price.as_bytes(), price.as_bytes()));
    }
    db.close()?;
    Ok(std::fs::remove_dir_all(dir)?)
}
