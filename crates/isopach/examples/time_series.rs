//! Measurements that are kept for a day: they expire by themselves, and whole tables of them go without being read.

use isopach::{Db, Keyspace, KeyspaceOptions, Result, env::TestClock};
use std::{error::Error, sync::Arc, time::Duration};

const DAY: Duration = Duration::from_secs(24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("isopach-series-{}", std::process::id()));
    // A clock that the example can move. A program leaves the clock of the system in place.
    let clock = TestClock::new();
    let db = Db::builder(&dir).clock(Arc::new(clock.clone())).open()?;
    let series = db.keyspace_with("series", KeyspaceOptions::new().ttl(DAY))?;

    for hour in 0..72_u32 {
        for sensor in 0..20_u32 {
            measure(&series, sensor, hour)?;
        }
        clock.advance(HOUR);
        db.flush()?;
    }
    assert_eq!(series.count(..)?, 23 * 20, "of each sensor what is less than a day old");
    println!("{} measurements are there", series.count(..)?);

    // Of one sensor, newest first.
    let newest = series.prefix(7_u32.to_be_bytes()).next_back().expect("it measures each hour")?;
    println!("sensor 7 said {} at last", String::from_utf8_lossy(&newest.1));

    // What has expired is not read any more. It goes from the disk with the tables that it lies in.
    clock.advance(2 * DAY);
    assert!(series.is_empty()?);
    series.compact_range(..)?;
    db.wait_idle(HOUR)?; // Of what the background was writing meanwhile.
    assert_eq!(series.disk_bytes(), 0);
    db.close()?;
    Ok(std::fs::remove_dir_all(dir)?)
}

/// Keys sort by sensor, then by time.
fn measure(series: &Keyspace, sensor: u32, hour: u32) -> Result<()> {
    let key = [sensor.to_be_bytes(), hour.to_be_bytes()].concat();
    series.insert(key, format!("{} degrees", 15 + (hour + sensor) % 10))?;
    Ok(())
}
