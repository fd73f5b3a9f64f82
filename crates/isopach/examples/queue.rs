//! A queue on disk: jobs go in at one end and out at the other. Each job is written once and deleted once, which
//! is what weak deletes are for; and what was done is cut off with one range delete.

use isopach::{Db, Keyspace, Result};
use std::error::Error;

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("isopach-queue-{}", std::process::id()));
    let db = Db::open(&dir)?;
    let (jobs, done) = (db.keyspace("jobs")?, db.keyspace("done")?);

    for number in 0..1_000_u64 {
        jobs.insert(number.to_be_bytes(), format!("job {number}"))?;
    }
    while let Some((number, job)) = jobs.first()? {
        // Out of the one and into the other, or neither, whatever happens.
        let mut batch = db.batch();
        batch.remove_weak(&jobs, &number).insert(&done, &number, &job);
        db.write(batch)?;
    }
    assert!(jobs.is_empty()?);
    println!("{} jobs are done", done.count(..)?);

    // Only the last hundred are kept. The delete is one write, and finding the first is one search.
    forget_below(&done, 900)?;
    assert_eq!(done.first()?.expect("some are kept").1, b"job 900");
    assert_eq!(done.count(..)?, 100);
    db.close()?;
    Ok(std::fs::remove_dir_all(dir)?)
}

fn forget_below(done: &Keyspace, number: u64) -> Result<()> {
    done.remove_range(..number.to_be_bytes())?;
    Ok(())
}
