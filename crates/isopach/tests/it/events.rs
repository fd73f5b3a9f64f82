//! What listeners hear, and what they cannot harm.

use isopach::{ErrorKind, Event, EventListener, env::MemFs};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use testkit::db::{SOON, small, tiny_tables, wait_until};

/// Counts events by name.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Counts {
    fn of(&self, name: &str) -> u64 {
        self.0.lock().unwrap().get(name).copied().unwrap_or(0)
    }
}

impl EventListener for Counts {
    fn on_event(&self, event: &Event<'_>) {
        let name = match event {
            Event::FlushBegin { keyspace } => {
                assert_eq!(*keyspace, "k");
                "flush begins"
            }
            Event::FlushEnd { result, .. } => {
                assert!(result.is_ok());
                "flush ends"
            }
            Event::CompactionBegin { .. } => "compaction begins",
            Event::CompactionEnd { read, written, result, .. } => {
                // One whose inputs another took meanwhile reads nothing, and says so; one that only moves a
                // table down reads nothing either.
                let is_late = result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Busy);
                assert!(result.is_ok() || is_late, "{result:?}");
                assert!(*read > 0 || *written == 0, "{written} bytes of nothing");
                "compaction ends"
            }
            Event::LogEndDiscarded { .. } => "log end discarded",
            Event::Poisoned { .. } => "poisoned",
            Event::BackgroundError { .. } => "background error",
            Event::ListenerPanicked => "listener panicked",
            _ => "other",
        };
        *self.0.lock().unwrap().entry(name).or_default() += 1;
    }
}

/// Panics at every event.
struct Panics;

impl EventListener for Panics {
    fn on_event(&self, event: &Event<'_>) {
        if !matches!(event, Event::ListenerPanicked) {
            panic!("a listener of a test panics: {event:?}");
        }
    }
}

#[test]
fn flushes_and_compactions_are_told_with_their_end() {
    let counts = Counts::default();
    let db = small(MemFs::new()).listener(counts.clone()).open().unwrap();
    let ks = db.keyspace_with("k", tiny_tables()).unwrap();

    for round in 0..3_u8 {
        for n in 0..100_u8 {
            ks.insert([n], [round; 300]).unwrap();
        }
        ks.compact_range(..).unwrap();
    }
    db.wait_idle(SOON).unwrap();

    assert!(
        counts.of("flush ends") >= 3 && counts.of("compaction ends") >= 2,
        "{counts:?}",
        counts = counts.0
    );
    assert_eq!(counts.of("flush begins"), counts.of("flush ends"));
    assert_eq!(counts.of("compaction begins"), counts.of("compaction ends"));
    let stats = ks.stats().tree;
    assert!(stats.flushes <= counts.of("flush ends") && stats.compactions <= counts.of("compaction ends"));
}

#[test]
fn a_panic_in_a_listener_harms_nothing_and_is_told() {
    let counts = Counts::default();
    let db = small(MemFs::new()).listener(Panics).listener(counts.clone()).open().unwrap();
    let ks = db.keyspace_with("k", tiny_tables()).unwrap();

    for n in 0..1000_u16 {
        ks.insert(n.to_be_bytes(), [7; 100]).unwrap();
    }
    ks.compact_range(..).unwrap();
    db.wait_idle(SOON).unwrap();

    assert_eq!(ks.count(..).unwrap(), 1000);
    assert!(db.health().background_error.is_none());
    wait_until("panics are counted", || db.health().listener_panics > 0);
    // It is counted first and told then.
    wait_until("each is told", || counts.of("listener panicked") == db.health().listener_panics);
    assert!(counts.of("flush ends") > 0, "the other listener hears of everything");
    drop(ks);
    db.close().unwrap();
}
