//! The log's decoders, for [`crate::fuzz`].

use super::{
    ENTRY_PREFIX_BYTES, History, LogFacts, LogRecord, Reading, Recovered,
    record::{AppendRecord, Meaning},
    recover,
    segment::WAL_DIR,
    segment_name,
};
use crate::options::LogRecovery;
use isopach_engine::{codec::LogPosition, types::Uuid};
use isopach_env::{CreateOptions, Fs, Inline, MemFs, WriteOrigin};

/// The payload of a log record, behind a byte that says its kind.
pub(crate) fn record(data: &[u8]) {
    let Some((&kind, payload)) = data.split_first() else { return };
    match Meaning::decode(kind, payload) {
        Ok(Meaning::Start(start)) => assert_eq!(&start.encode()[..], payload),
        Ok(Meaning::Entry(entry)) => {
            let body = &payload[ENTRY_PREFIX_BYTES..];
            let (first_seqno, count, time) = (entry.first_seqno, entry.count, entry.time);
            let record = AppendRecord { kind: entry.kind, first_seqno, count, time, body };
            assert_eq!(record.last_seqno(), entry.last_seqno);
            assert_eq!(record.encode(), payload, "what was decoded encodes to the same bytes");
        }
        Ok(Meaning::Void) | Err(_) => {}
    }
}

/// A log of one segment: its end is found in each mode, and its records go to `each`. One byte says what the
/// manifest has to say about it.
pub(crate) fn segment(data: &[u8], mut each: impl FnMut(&LogRecord<'_>)) {
    let Some((&manifest, file)) = data.split_first() else { return };
    let fs = MemFs::new();
    fs.create_dir(WAL_DIR).expect("an empty place");
    let written = fs.create(&segment_name(1), &CreateOptions::new(WriteOrigin::Log)).expect("an empty place");
    written.write_at(0, file).expect("memory takes all");
    let database = file.get(24..40).and_then(|uuid| uuid.try_into().ok()).unwrap_or_default();
    let at = |offset: u8| LogPosition { file: 1, offset: u64::from(offset) * 8 };
    let facts = LogFacts {
        first_live: 1,
        clean_end: (manifest & 1 == 1).then(|| at(manifest >> 1)),
        synced_upto: if manifest & 3 == 2 { at(manifest >> 2) } else { LogPosition::START },
        sealed_from: None,
        history: (manifest & 7 == 4).then(|| History { timeline: u64::from(manifest >> 3), from: 1 }),
    };
    for mode in [LogRecovery::Absolute, LogRecovery::TornEnd, LogRecovery::PointInTime] {
        let reading = Reading { spawn: &Inline, watch: &mut |_, _| Ok(()) };
        if let Ok(recovered) = recover(&fs, Uuid(database), facts, mode, reading) {
            replay(&fs, &recovered, &mut each);
        }
    }
}

fn replay(fs: &MemFs, recovered: &Recovered, each: &mut impl FnMut(&LogRecord<'_>)) {
    assert!(recovered.durable <= recovered.end, "what is durable lies before the end");
    let mut records = 0;
    let replayed = recovered.pieces().try_for_each(|piece| {
        piece.read(fs, &mut |record| {
            records += 1;
            let _ = record.last_seqno();
            each(&record);
            Ok(())
        })
    });
    assert!(replayed.is_ok(), "what was read once is read again: {replayed:?}");
    assert_eq!(records, recovered.records);
}
