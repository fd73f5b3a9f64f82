//! The process whose machine loses power: writers, flushes, compactions and checkpoints on one database,
//! until it is killed. It says on standard output what was acknowledged, and nothing before it was.

use crate::history::{Change, Operation, SHARED, has_own, key_of, name_of, operation, value_of};
use isopach::{
    CheckpointOptions, Db, Durability, Event, EventListener, Keyspace, Result, Seqno, WriteOptions,
};
use std::{fmt::Display, io::Write, path::Path, process, thread, time::Duration};
use testkit::{
    Rng,
    db::{tiny, tiny_tables},
};

/// Checkpoints of one life.
pub(crate) const CHECKPOINTS: usize = 3;

/// The directory of a checkpoint.
pub(crate) fn copy_name(number: usize) -> String {
    format!("copy-{number}")
}

/// Whether the child is honest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Honesty {
    /// A write is synced before it is said to be.
    Honest,
    /// It never is: the parent has to notice.
    Lies,
}

/// What a life needs.
pub(crate) struct Life<'a> {
    /// Holds the database, `db`, and checkpoints.
    pub(crate) dir: &'a Path,
    pub(crate) seed: u64,
    /// Of each writer, the number of its first operation.
    pub(crate) from: Vec<u64>,
    pub(crate) honesty: Honesty,
}

/// Writes until the end of the process.
pub(crate) fn live(life: &Life<'_>) -> Result<()> {
    let db = tiny(Db::builder(life.dir.join("db"))).write_buffer_bytes(128 << 10).listener(Reports).open()?;
    say("open");
    let shared: Vec<Keyspace> =
        SHARED.iter().map(|name| db.keyspace_with(name, tiny_tables())).collect::<Result<_>>()?;
    thread::scope(|scope| {
        let (db, shared) = (&db, &shared);
        for (writer, &from) in life.from.iter().enumerate() {
            scope.spawn(move || or_say(write_on(life, db, shared, writer, from)));
        }
        scope.spawn(|| or_say(keep_house(life, db, shared)));
        scope.spawn(|| or_say(copy_on(life, db)));
    });
    Ok(())
}

/// Says a line at once. Without a parent there is nothing to go on for.
fn say(line: impl Display) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        process::exit(0);
    }
}

/// Errors are to be expected once the power is off; the parent decides when that was.
fn or_say(result: Result<()>) {
    if let Err(error) = result {
        say(format_args!("error {error}"));
    }
}

fn write_on(life: &Life<'_>, db: &Db, shared: &[Keyspace], writer: usize, from: u64) -> Result<()> {
    let own_name = name_of(SHARED.len(), writer);
    let mut own = if has_own(from) { db.get_keyspace(&own_name)? } else { None };
    for number in from.. {
        let seqno = match operation(life.seed, writer, number) {
            Operation::Make => {
                own = Some(db.keyspace_with(&own_name, tiny_tables())?);
                Seqno::ZERO
            }
            Operation::Drop => {
                own = None;
                db.drop_keyspace(&own_name)?;
                Seqno::ZERO
            }
            Operation::Write { changes, is_synced } => {
                let mut batch = db.batch();
                for (place, change) in changes {
                    let keyspace = shared.get(place.0).or(own.as_ref()).expect("it was made before");
                    let key = key_of(writer, place.1);
                    match change {
                        Change::Put => {
                            batch.insert(keyspace, key, value_of(life.seed, writer, number, place))
                        }
                        Change::Remove => batch.remove(keyspace, key),
                    };
                }
                let is_synced = is_synced && life.honesty == Honesty::Honest;
                let durability = if is_synced { Durability::Sync } else { Durability::Buffered };
                db.write_with(batch, WriteOptions::new().durability(durability))?
            }
        };
        say(format_args!("ack {writer} {number} {}", seqno.raw()));
    }
    Ok(())
}

fn keep_house(life: &Life<'_>, db: &Db, shared: &[Keyspace]) -> Result<()> {
    let mut rng = Rng::new(life.seed ^ life.from.iter().sum::<u64>());
    loop {
        thread::sleep(Duration::from_millis(5 + rng.below(60) as u64));
        match (rng.below(3), life.honesty) {
            (0, Honesty::Honest) => db.flush()?,
            (1, Honesty::Honest) => rng.pick(shared).compact_range(..)?,
            _ => {}
        }
    }
}

fn copy_on(life: &Life<'_>, db: &Db) -> Result<()> {
    if life.honesty == Honesty::Lies {
        return Ok(()); // A checkpoint would sync for it.
    }
    let mut rng = Rng::new(life.seed ^ life.from.iter().sum::<u64>().rotate_left(32));
    for number in 0..CHECKPOINTS {
        thread::sleep(Duration::from_millis(10 + rng.below(100) as u64));
        let options = CheckpointOptions::new().flush(rng.one_in(4));
        say("begin copy");
        let info = db.checkpoint_with(life.dir.join(copy_name(number)), options)?;
        say(format_args!("copy {number} {}", info.seqno.raw()));
    }
    Ok(())
}

/// Says what goes on in the background.
struct Reports;

impl EventListener for Reports {
    fn on_event(&self, event: &Event<'_>) {
        match event {
            Event::FlushBegin { .. } => say("begin flush"),
            Event::FlushEnd { .. } => say("end flush"),
            Event::CompactionBegin { .. } => say("begin compaction"),
            Event::CompactionEnd { .. } => say("end compaction"),
            _ => {}
        }
    }
}
