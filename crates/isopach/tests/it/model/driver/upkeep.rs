//! Maintenance, closing and opening, and looks at everything.

use super::Driver;
use isopach::{ErrorKind, VerifyOptions};
use std::ops::Bound;
use testkit::db::{contents, entries};

impl Driver {
    pub(super) fn compact(&mut self) {
        let space = self.any_space();
        let handle = self.handle(space);
        if self.rng.one_in(2) {
            handle.compact_range(..).unwrap();
        } else {
            handle.compact_range(self.bounds()).unwrap();
        }
    }

    pub(super) fn sync(&mut self) {
        let at = self.rng.below(self.seqnos.len());
        let seqno = self.seqnos[at];
        self.db().wait_durable(seqno).unwrap();
        assert!(self.db().durable_seqno() >= seqno);
        if self.rng.one_in(2) {
            let last = *self.seqnos.last().unwrap();
            assert_eq!(self.db().sync().unwrap(), last);
            assert_eq!(self.db().durable_seqno(), last);
        }
    }

    pub(super) fn close(&mut self) {
        self.scans.clear();
        self.snapshots.clear();
        let db = self.db.take().expect("open");
        if self.rng.one_in(3) {
            self.handles.clear();
            drop(db); // The last handle closes too.
        } else {
            db.close().unwrap();
            self.handles.clear();
        }
    }

    pub(super) fn reopen(&mut self) {
        self.close();
        let db = self.options.builder(&self.env).open().unwrap();
        assert!(db.recovery().is_clean);
        assert_eq!((db.recovery().discarded, db.recovery().orphans_removed), (None, 0));
        assert_eq!(db.seqno(), *self.seqnos.last().unwrap());
        assert_eq!(db.durable_seqno(), db.seqno(), "a clean close makes everything durable");
        self.db = Some(db);
    }

    /// Opens for reading, and checks, between two openings for writing.
    pub(super) fn look_while_closed(&mut self) {
        self.close();
        let at = self.oracle.last();
        let read = self.options.builder(&self.env).open_read_only().unwrap();
        assert_eq!(read.seqno(), *self.seqnos.last().unwrap());
        for space in self.oracle.alive() {
            let keyspace = read.keyspace(self.oracle.name(space)).unwrap();
            assert_eq!(entries(&keyspace), self.oracle.contents(at)[self.oracle.name(space)]);
            self.check_reads(space, &keyspace, at);
        }
        drop(read);
        let report = self.options.builder(&self.env).verify(VerifyOptions::new()).unwrap();
        assert!(report.found.is_empty(), "{:?}", report.found);
        self.db = Some(self.options.builder(&self.env).open().unwrap());
    }

    pub(super) fn check_everything(&mut self) {
        assert_eq!(contents(self.db()), self.oracle.contents(self.oracle.last()));
        for (snapshot, at) in &self.snapshots {
            for (&space, handle) in self.handles.iter().filter(|(space, _)| self.is_seen(**space, *at)) {
                let all = (Bound::Unbounded, Bound::Unbounded);
                let expected = self.oracle.range(space, &all, *at).into_iter().collect();
                assert_eq!(entries(&handle.at(snapshot)), expected, "behind commit {at}");
            }
        }
        let report = self.db().verify(VerifyOptions::new()).unwrap();
        assert!(report.found.is_empty(), "{:?}", report.found);
        let levels = self.db().stats().keyspaces.into_iter().flat_map(|keyspace| keyspace.tree.levels);
        self.has_deep_tables |= levels.into_iter().any(|(level, stats)| level.0 > 0 && stats.tables > 3);
        assert!(self.db().health().background_error.is_none());
    }

    /// Calls that must change nothing.
    pub(super) fn check_refused(&mut self) {
        let gone = self.handles.iter().find(|(space, _)| !self.oracle.is_alive(**space));
        if let Some((_, handle)) = gone {
            assert_eq!(handle.insert("k", "v").unwrap_err().kind(), ErrorKind::KeyspaceDropped);
            assert_eq!(handle.get("k").unwrap_err().kind(), ErrorKind::KeyspaceDropped);
            let mut batch = self.db().batch();
            let alive = self.handles.iter().find(|(space, _)| self.oracle.is_alive(**space));
            alive.map(|(_, alive)| batch.insert(alive, "refused", "v"));
            batch.remove(handle, "k");
            assert_eq!(self.db().write(batch).unwrap_err().kind(), ErrorKind::KeyspaceDropped);
        }
        assert_eq!(self.db().keyspace("").unwrap_err().kind(), ErrorKind::InvalidArgument);
        assert_eq!(self.db().seqno(), *self.seqnos.last().unwrap());
    }
}
