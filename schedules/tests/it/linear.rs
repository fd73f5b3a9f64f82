//! Calls on single keys are linearizable under every interleaving, flush and compaction among them.

use isopach::{Slice, env::MemFs};
use isopach_schedules::{explore, tiny, together, work};
use shuttle::rand::Rng;
use std::sync::Arc;
use testkit::linear::{Recorder, Value};

fn value_of(slice: Option<Slice>) -> Value {
    slice.map(|slice| u64::from_le_bytes(slice[..8].try_into().expect("values begin with a number")))
}

/// Three threads on two keys; every call may meet a seal, a flush, and a compaction.
fn call_beside_upkeep() {
    let db = tiny(Arc::new(MemFs::new())).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    let recorder = Arc::new(Recorder::default());
    let caller = |thread: usize| {
        let (ks, recorder) = (ks.clone(), Arc::clone(&recorder));
        work(move || {
            for round in 0..5_u64 {
                let mut random = shuttle::rand::thread_rng();
                let key: &[u8] = if random.gen_bool(0.7) { b"a" } else { b"b" };
                match random.gen_range(0..5) {
                    0 => drop(recorder.write(thread, key, None, || ks.remove(key)).unwrap()),
                    1 | 2 => {
                        let value = 10 * thread as u64 + round;
                        let bytes = [&value.to_le_bytes()[..], &[b'.'; 5000]].concat();
                        recorder.write(thread, key, Some(value), || ks.insert(key, bytes)).unwrap();
                    }
                    3 => {
                        let scan = || ks.range(key..=key).values().next().transpose().map(value_of);
                        recorder.read(thread, key, scan).unwrap();
                    }
                    _ => drop(recorder.read(thread, key, || ks.get(key).map(value_of)).unwrap()),
                }
            }
        })
    };
    let upkeep = {
        let (db, ks) = (db.clone(), ks.clone());
        work(move || {
            db.flush().unwrap();
            ks.compact_range(..).unwrap();
            db.flush().unwrap();
        })
    };
    together([caller(0), caller(1), caller(2), upkeep]);

    let calls = recorder.check().unwrap_or_else(|disorder| panic!("{disorder}"));
    assert_eq!(calls, 15);
}

#[test]
fn calls_on_single_keys_are_linearizable() {
    explore("linearizability", 40, call_beside_upkeep);
}
