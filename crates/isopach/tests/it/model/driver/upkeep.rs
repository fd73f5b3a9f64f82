//! Maintenance, closing and opening, and looks at everything.

use super::Driver;
use isopach::{ErrorKind, Seqno, VerifyOptions};
use std::ops::Bound;
use testkit::db::{contents, entries, env_of};

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

    /// Ends the process, or takes the power away, and goes on with what is left: a prefix of the commits, with all that were
    /// promised to survive.
    pub(super) fn crash(&mut self) {
        let Some(files) = &self.files else { return };
        let (promised, left) = if self.rng.one_in(3) {
            (self.db().seqno(), files.kill())
        } else {
            (self.db().durable_seqno(), files.crash(self.rng.word()))
        };
        self.close();
        self.env = env_of(left.clone());
        self.files = Some(left);
        let db = self.options.builder(&self.env).open().expect("a database opens after any crash");

        let number_of = |seqno: Seqno| self.seqnos.partition_point(|&other| other <= seqno) - 1;
        let (found, from, upto) = (contents(&db), number_of(promised), number_of(db.seqno()));
        // The present position may lie above what is left: reads of what was compacted stay refused.
        let survived = (from..=upto).rev().find(|&at| self.oracle.contents(at) == found);
        let survived = survived.unwrap_or_else(|| panic!("behind no commit of {from} to {upto}: {found:?}"));
        self.seqnos.truncate(survived);
        self.seqnos.push(db.seqno());
        self.oracle.truncate(survived);
        self.last_cleared = self.last_cleared.min(survived);
        let alive = self.oracle.alive();
        self.changed.retain(|space, _| alive.contains(space));
        self.db = Some(db);
        self.counts.crashes += 1;
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
        let keyspaces = self.db().stats().keyspaces;
        self.counts.separated += keyspaces.iter().map(|it| it.tree.blobs.live_records).sum::<u64>();
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
