//! A report that is right while accounts change: it reads one state of the database, whatever is written
//! meanwhile.

use isopach::{Db, Keyspace, KeyspaceAt, Result};
use std::{
    error::Error,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

const ACCOUNTS: u32 = 1_000;
const START_BALANCE: u64 = 1_000;

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("isopach-snapshots-{}", std::process::id()));
    // Small memtables, so that tables are written and merged meanwhile.
    let db = Db::builder(&dir).write_buffer_bytes(64 << 10).open()?;
    let accounts = db.keyspace("accounts")?;
    for account in 0..ACCOUNTS {
        accounts.insert(account.to_be_bytes(), START_BALANCE.to_be_bytes())?;
    }
    let first = db.snapshot();

    // One thread moves money about. Every report adds up to the same sum, for none sees a transfer half done.
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let transfers = scope.spawn(|| transfer_until(&db, &accounts, &is_over));
        for report in 1..=20 {
            let snapshot = db.snapshot();
            let total = total(&accounts.at(&snapshot))?;
            println!("report {report} at commit {}: {total}", snapshot.seqno());
            assert_eq!(total, u64::from(ACCOUNTS) * START_BALANCE);
        }
        is_over.store(true, Ordering::Relaxed);
        let count = transfers.join().expect("transfers do not panic")?;
        println!("{count} transfers meanwhile");
        Ok::<(), isopach::Error>(())
    })?;

    // A snapshot keeps its state through compaction, and even the dropping of the keyspace.
    accounts.compact_range(..)?;
    db.drop_keyspace("accounts")?;
    let then = accounts.at(&first);
    assert_eq!(then.count(..)?, u64::from(ACCOUNTS));
    assert_eq!(then.get(7_u32.to_be_bytes())?.as_deref(), Some(&START_BALANCE.to_be_bytes()[..]));
    assert!(accounts.get(7_u32.to_be_bytes()).is_err(), "now the keyspace is gone");
    db.close()?;
    Ok(std::fs::remove_dir_all(dir)?)
}

/// Moves small amounts from account to account, each in one batch. Returns how many.
fn transfer_until(db: &Db, accounts: &Keyspace, is_over: &AtomicBool) -> Result<u32> {
    let mut count = 0;
    while !is_over.load(Ordering::Relaxed) {
        let (from, to) = (count * 7 % ACCOUNTS, (count * 13 + 1) % ACCOUNTS);
        let (rich, poor) =
            (balance(accounts.get(from.to_be_bytes())?), balance(accounts.get(to.to_be_bytes())?));
        if from != to && rich > 0 {
            let mut batch = db.batch();
            batch.insert(accounts, from.to_be_bytes(), (rich - 1).to_be_bytes());
            batch.insert(accounts, to.to_be_bytes(), (poor + 1).to_be_bytes());
            db.write(batch)?;
        }
        count += 1;
    }
    Ok(count)
}

fn total(accounts: &KeyspaceAt) -> Result<u64> {
    accounts.iter().values().map(|value| Ok(balance(Some(value?)))).sum()
}

fn balance(value: Option<isopach::Slice>) -> u64 {
    let bytes = value.expect("every account has a balance");
    u64::from_be_bytes(bytes[..].try_into().expect("balances are eight bytes long"))
}
