//! The process that is killed: writers, readers, flushes, compactions and checkpoints on one database, all at
//! once, until the kill comes or standard input ends; then it closes the database.
//!
//! Whatever fails or is not as it must be is said to the parent, which decides.

use super::{
    operations::{Change, MAX_WRITERS, Operation, SHARED, STAMP, Space, has_own, key, operation, value},
    readers::read_on,
    words::{Word, Work},
};
use crate::{
    args::{Durability, TortureChildArgs},
    database,
    exit::Failure,
    random::{Random, fresh_seed},
};
use isopach::{CheckpointOptions, Db, Event, EventListener, Keyspace, Seqno};
use std::{
    io::Read,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

/// Most checkpoints of one life.
const MAX_CHECKPOINTS: u64 = 4;

/// What the threads of the child share.
pub(super) struct Stage<'a> {
    pub(super) db: &'a Db,
    pub(super) shared: Vec<Keyspace>,
    pub(super) seed: u64,
    /// Of each writer: one more than the number of its last operation that was begun.
    pub(super) begun: Vec<AtomicU64>,
    /// Of each writer: one more than the number of its last stamp that was acknowledged; 0 for none.
    pub(super) stamped: Vec<AtomicU64>,
    is_over: AtomicBool,
}

impl Stage<'_> {
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}

/// Lives until it is killed or told to end.
pub(crate) fn run(args: &TortureChildArgs) -> Result<(), Failure> {
    Word::Opening.say();
    let db = database::write_small(&args.db, Reports)?;
    Word::Open.say();
    live(args, &db)?;
    Word::Begin(Work::Closing).say();
    database::close(db)?;
    Word::Closed.say();
    Ok(())
}

fn live(args: &TortureChildArgs, db: &Db) -> Result<(), Failure> {
    let shared = SHARED.iter().map(|name| database::small_keyspace(db, name)).collect::<Result<_, _>>()?;
    assert!((1..=MAX_WRITERS).contains(&args.from.len()), "the parent starts some writers");
    let stage = Stage {
        db,
        shared,
        seed: args.seed,
        begun: args.from.iter().map(|&number| AtomicU64::new(number)).collect(),
        stamped: args.from.iter().map(|_| AtomicU64::new(0)).collect(),
        is_over: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        let stage = &stage;
        for (writer, &from) in args.from.iter().enumerate() {
            scope.spawn(move || say_error(&format!("writer {writer}"), write_on(stage, writer, from)));
        }
        for reader in 0..args.readers {
            scope.spawn(move || say_error(&format!("reader {reader}"), read_on(stage)));
        }
        scope.spawn(|| say_error("flush, compaction or sync", keep_house(stage)));
        scope.spawn(|| say_error("checkpoint", copy_on(stage, &args.checkpoints)));
        // The parent ends standard input when it wants an ending in order.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        stage.is_over.store(true, Ordering::Release);
    });
    Ok(())
}

fn say_error(who: &str, result: isopach::Result<()>) {
    if let Err(error) = result {
        Word::Wrong(format!("{who}: {error}")).say();
    }
}

/// A writer: one operation after the other, each said when it is acknowledged.
fn write_on(stage: &Stage<'_>, writer: usize, from: u64) -> isopach::Result<()> {
    let own_name = Space::Own.name(writer);
    let mut own = stage.db.get_keyspace(&own_name)?;
    if own.is_some() != has_own(from) {
        Word::Wrong(format!("writer {writer}: {own_name} is not as before operation {from}")).say();
        return Ok(());
    }
    for number in from.. {
        if stage.is_over() {
            break;
        }
        stage.begun[writer].store(number + 1, Ordering::Release);
        let seqno = match operation(stage.seed, writer, number) {
            Operation::Make => {
                Word::Begin(Work::Keyspace).say();
                own = Some(stage.db.keyspace_with(&own_name, database::small_tables())?);
                Word::End(Work::Keyspace).say();
                stage.db.seqno()
            }
            Operation::Drop => {
                own = None;
                Word::Begin(Work::Keyspace).say();
                stage.db.drop_keyspace(&own_name)?;
                Word::End(Work::Keyspace).say();
                stage.db.seqno()
            }
            Operation::Write { changes, is_synced } => {
                write(stage, writer, number, own.as_ref(), &changes, is_synced)?
            }
        };
        Word::Acknowledged { writer, number, seqno: seqno.raw() }.say();
    }
    Ok(())
}

fn write(
    stage: &Stage<'_>,
    writer: usize,
    number: u64,
    own: Option<&Keyspace>,
    changes: &[Change],
    is_synced: bool,
) -> isopach::Result<Seqno> {
    let keyspace = |space: Space| match space {
        Space::Shared(shared) => &stage.shared[usize::from(shared)],
        Space::Own => own.expect("only written to while it is there"),
    };
    let options = database::write_options(if is_synced { Durability::Sync } else { Durability::Buffered });
    let seqno = match *changes {
        [Change::Put(place)] => {
            let value = value(stage.seed, writer, number, place);
            keyspace(place.space).insert_with(key(writer, place.key), value, options)?
        }
        [Change::Remove(place)] => keyspace(place.space).remove_with(key(writer, place.key), options)?,
        ref changes => {
            let mut batch = stage.db.batch();
            for change in changes {
                match *change {
                    Change::Put(place) => {
                        let value = value(stage.seed, writer, number, place);
                        batch.insert(keyspace(place.space), key(writer, place.key), value)
                    }
                    Change::Remove(place) => batch.remove(keyspace(place.space), key(writer, place.key)),
                };
            }
            stage.db.write_with(batch, options)?
        }
    };
    if let [Change::Put(place), ..] = changes
        && place.key == STAMP
    {
        stage.stamped[writer].store(number + 1, Ordering::Release);
    }
    Ok(seqno)
}

/// Flushes, compacts and syncs at random.
fn keep_house(stage: &Stage<'_>) -> isopach::Result<()> {
    let mut random = Random::new(fresh_seed());
    while !stage.is_over() {
        thread::sleep(Duration::from_millis(5 + random.below(60)));
        match random.below(3) {
            0 => stage.db.flush()?,
            1 => stage.shared[random.below(SHARED.len() as u64) as usize].compact_range(..)?,
            _ => stage.db.sync().map(drop)?,
        }
    }
    Ok(())
}

/// Makes checkpoints in `dir`, a directory each.
fn copy_on(stage: &Stage<'_>, dir: &Path) -> isopach::Result<()> {
    let mut random = Random::new(fresh_seed());
    for number in 0..MAX_CHECKPOINTS {
        thread::sleep(Duration::from_millis(10 + random.below(150)));
        if stage.is_over() {
            break;
        }
        let options = CheckpointOptions::new().flush(random.below(4) == 0);
        Word::CheckpointBegin { number }.say();
        let info = stage.db.checkpoint_with(dir.join(number.to_string()), options)?;
        Word::CheckpointEnd { number, seqno: info.seqno.raw() }.say();
    }
    Ok(())
}

/// Says what goes on in the background.
struct Reports;

impl EventListener for Reports {
    fn on_event(&self, event: &Event<'_>) {
        match event {
            Event::FlushBegin { .. } => Word::Begin(Work::Flush).say(),
            Event::FlushEnd { .. } => Word::End(Work::Flush).say(),
            Event::CompactionBegin { .. } => Word::Begin(Work::Compaction).say(),
            Event::CompactionEnd { .. } => Word::End(Work::Compaction).say(),
            Event::Poisoned { error } | Event::BackgroundError { error } => {
                Word::Wrong(format!("background: {error}")).say();
            }
            _ => {}
        }
    }
}
