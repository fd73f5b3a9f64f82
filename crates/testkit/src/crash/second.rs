//! What a crash left behind crashes again: while it is recovered from, and once something was acknowledged.

use super::{
    image::{MARKS, Promised, check_files, database, written_to},
    ledger::Ledger,
};
use crate::{
    Rng,
    db::{small, synced},
};
use isopach::env::CrashFs;
use std::sync::{Arc, Mutex, PoisonError};

/// One step of recovery in so many is the last.
const ONE_IN: usize = 4;

/// Opens an image on files that may crash themselves, and checks what is left of some of its steps, both by
/// the end of the process and by that of the power; then what a power loss leaves once a durable write was
/// acknowledged.
///
/// # Panics
///
/// If something is not as it must be.
pub fn check_a_second_crash(image: &CrashFs, ledger: &Ledger, promised: Promised, rng: &mut Rng) {
    let place = database(image);
    let images = Arc::new(Mutex::new(Vec::new()));
    let (source, taken, seed) = (image.clone(), Arc::clone(&images), rng.word());
    image.watch(move |number, step| {
        let mut rng = Rng::new(seed ^ number);
        if rng.one_in(ONE_IN) {
            let (what, image) = match rng.one_in(2) {
                true => ("killed", source.kill()),
                false => ("power lost", source.crash(rng.word())),
            };
            let label = format!("in recovery, step {number}, before {step}, {what}");
            let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
            taken.push((label, what == "killed", image));
        }
        Ok(())
    });
    let db = small(place.clone()).open().expect("a database opens after any crash");
    let survived = ledger.check(written_to(&db), promised.floor);
    let seqno = db.keyspace(MARKS).and_then(|marks| marks.insert_with("mark", "1", synced()));
    let seqno = seqno.expect("what was reopened takes writes");
    assert!(db.durable_seqno() >= seqno, "an acknowledged write is durable");
    let opened = image.crash(rng.word());
    image.unwatch();
    drop(db);

    let taken = std::mem::take(&mut *images.lock().unwrap_or_else(PoisonError::into_inner));
    for (label, is_killed, image) in taken {
        // The process alone takes nothing; the power may take what was found and not made durable yet.
        let floor = if is_killed { promised.floor } else { promised.floor.min(promised.floors.durable) };
        with_place(&label, || check_files(&image, ledger, Promised { floor, ..promised }));
    }
    with_place("after recovery", || {
        let db = small(database(&opened)).open().expect("a database opens after any crash");
        let marks = db.get_keyspace(MARKS).unwrap().expect("acknowledged as durable");
        assert_eq!(marks.get("mark").unwrap().as_deref(), Some(&b"1"[..]), "acknowledged as durable");
        assert_eq!(ledger.check(written_to(&db), survived), survived, "what was found is durable with it");
    });
}

/// Says where a check failed.
fn with_place<T>(place: &str, check: impl FnOnce() -> T) -> T {
    struct Told<'a>(&'a str);
    impl Drop for Told<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("failed {}", self.0);
            }
        }
    }
    let _told = Told(place);
    check()
}
