//! An open database inside: everything that its handles and its background share.

use crate::{
    durable::{Call, DurableCalls},
    error::{Error, ErrorKind, Result},
    events::{DamagedTable, Event, Listeners},
    jobs::Jobs,
    notes::{LOG_SYNCED, OPTIONS, keyspace_options},
    options::{DbOptions, Durability, KeepVersions, KeyspaceOptions, SetOptions, WriteOptions},
    passes::Passes,
    settings::Settings,
    space::{Space, Spaces, check_name},
    told::Told,
    views::LiveViews,
    write::{Body, Change, Commits, Committed, Operations, Order, Request, sort_by_space},
};
use isopach_engine::{
    codec::{Corruption, Reader, TlvReader, TlvWriter},
    compaction::Views,
    error::Error as EngineError,
    store::Store,
    tree::{Tree, TreeOptions},
    types::{Seqno, TreeId, UnixUs, Uuid, View},
    version::Note,
};
use isopach_env::sync::{
    atomic::{AtomicBool, Ordering},
    catch, point,
};
use std::{fmt, path::PathBuf, slice, sync::Arc};

/// See the module.
pub(crate) struct State {
    pub(crate) path: PathBuf,
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    pub(crate) spaces: Spaces,
    pub(crate) views: Arc<LiveViews>,
    pub(crate) commits: Commits,
    pub(crate) jobs: Jobs,
    pub(crate) listeners: Listeners,
    /// New calls are refused. Set once.
    pub(crate) is_closed: AtomicBool,
    pub(crate) told: Told,
    pub(crate) durable_calls: DurableCalls,
    pub(crate) passes: Passes,
}

impl State {
    /// # Errors
    ///
    /// `Closed`.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Closed, "the database is closed"));
        }
        Ok(())
    }

    /// Names the directory in an error.
    pub(crate) fn locate(&self, error: impl Into<Error>) -> Error {
        error.into().in_directory(&self.path)
    }

    // ----- writing -----

    /// Commits operations on keyspaces.
    pub(crate) fn write(
        &self,
        mut operations: Operations,
        spaces: &[Arc<Space>],
        options: WriteOptions,
    ) -> Result<Seqno> {
        self.check_open()?;
        if let Some(ttl) = options.ttl {
            operations.live(ttl);
        }
        let now = if operations.may_expire() { self.views.now() } else { UnixUs(0) };
        let makes_hole = operations.has_ranges() && makes_hole(&operations, spaces);
        let (bytes, count) = operations.finish(now)?;
        if count == 0 {
            return Ok(self.views.visible());
        }
        for space in spaces {
            space.check_alive()?;
            space.tree.order().check().map_err(|error| Error::from(error).in_keyspace(&space.name))?;
        }
        let default = self.settings.durability();
        let strongest = spaces.iter().map(|space| space.durability(default)).max();
        let durability = options.durability.or(strongest).unwrap_or(default);
        let stops = || self.check_open().err().or_else(|| self.commits.poisoned());
        let gives_up = || stops().or_else(|| self.jobs.out_of_space());
        let admitted = self.commits.admit(bytes.len() as u64, spaces, options.no_slowdown, &gives_up);
        admitted.map_err(|error| self.locate(error))?;
        let request = |change, body| Request { change, spaces, count, body, durability };
        if makes_hole || bytes.len() >= Body::LONG_BYTES {
            let is_large = makes_hole || bytes.len() as u64 >= self.settings.write_buffer_bytes();
            let bytes = Arc::new(bytes);
            let change = match is_large {
                true => Change::Large(sort_by_space(&bytes, count, spaces)),
                false => Change::Batch,
            };
            return self.commit(&request(change, Body::Long(bytes)));
        }
        let result = self.commit(&request(Change::Batch, Body::Short(&bytes)));
        Operations::keep(bytes);
        result
    }

    fn commit(&self, request: &Request<'_>) -> Result<Seqno> {
        let result = self.commits.commit(request);
        if let Ok(committed) = result {
            self.after_commit(request, committed);
        }
        let result = result.map(|committed| committed.seqno);
        self.after_request(request, &result);
        let result = result.map_err(|error| self.locate(error));
        self.tell_outcome(&result);
        result
    }

    /// Wakes who has something to do now.
    pub(crate) fn after_request(&self, request: &Request<'_>, result: &Result<Seqno>) {
        let is_sync = request.durability == Durability::Sync;
        let lacks_space = result.as_ref().is_err_and(|error| error.kind() == ErrorKind::OutOfSpace);
        if is_sync || lacks_space || self.settings.sync_every().is_some() {
            self.jobs.wake_keeper();
        }
        let wishes = self.commits.wal.takes_wish() | self.commits.takes_wish_for_numbers();
        if wishes | self.store.wants_memory() {
            self.jobs.prepare_log();
        }
    }

    /// Has what is full sealed, and the log shortened if it is long.
    fn after_commit(&self, request: &Request<'_>, committed: Committed) {
        if request.is_large() {
            request.spaces.iter().for_each(|space| self.jobs.flush(space.id));
            if request.body.bytes().len() as u64 >= self.settings.write_buffer_bytes() {
                let _ = self.commits.wal.rotate_segment(); // As in `seal`.
            }
        }
        self.shed_spare_memory();
        let is_full = committed.memtable_bytes >= self.settings.write_buffer_bytes();
        if is_full || self.lacks_room() {
            self.seal(&self.commits.order(), request.spaces);
        }
        if self.commits.wal.takes_growth() || self.commits.is_log_long() {
            self.bound_log();
        }
    }

    /// Seals what is full. Alone in the order of commits, so that the boundary is exact.
    fn seal(&self, order: &Order<'_>, spaces: &[Arc<Space>]) {
        let mut has_rotated = false;
        for space in spaces {
            if space.tree.active_bytes() >= self.settings.write_buffer_bytes() {
                has_rotated |= self.rotate(order, space);
            }
        }
        has_rotated |= self.make_room(order);
        if has_rotated {
            // So that the flush syncs finished segments only. For want of space the log goes on where it is.
            let _ = self.commits.wal.rotate_segment();
        }
    }

    /// Has the log shortened if it is longer than it should be.
    pub(crate) fn bound_log(&self) {
        if self.commits.note_log(self.log_bound()) && !self.jobs.is_flushing() {
            self.jobs.bound_log();
        }
    }

    /// Length at which the log is shortened: what is appended until the flushes are done has room below the
    /// bound that was set.
    pub(crate) fn log_bound(&self) -> u64 {
        self.settings.max_wal_bytes() / 16 * 15
    }

    /// What is kept for the next memtables gives way to those that are there (INV-MEM-1).
    fn shed_spare_memory(&self) {
        let room = self.commits.memtable_room();
        if room < self.settings.write_buffer_bytes() {
            self.store.shed_spare_memory(room);
        }
    }

    /// Seals the largest memtables once three quarters of the memory are in use: one if nothing is on its way
    /// out, and as many as it takes for what is not sealed to stay below that. So whoever waits for memory
    /// gets it when the flushes end, whatever was written during them. Returns whether any was sealed.
    fn make_room(&self, order: &Order<'_>) -> bool {
        if !self.lacks_room() {
            return false;
        }
        let enough = self.enough_memory();
        let mut active: Vec<(u64, Arc<Space>)> =
            self.spaces.all().into_iter().map(|space| (space.tree.active_bytes(), space)).collect();
        active.sort_by_key(|(bytes, _)| *bytes);
        let mut unsealed_bytes: u64 = active.iter().map(|(bytes, _)| bytes).sum();
        let mut is_idle = !self.jobs.is_flushing();
        let mut has_rotated = false;
        while (is_idle || unsealed_bytes >= enough)
            && let Some((bytes, space)) = active.pop()
        {
            has_rotated |= self.rotate(order, &space);
            unsealed_bytes -= bytes;
            is_idle = false;
        }
        has_rotated
    }

    /// Three quarters of the memory for memtables.
    fn enough_memory(&self) -> u64 {
        self.commits.memtable_limit() / 4 * 3
    }

    /// Whether memtables should be sealed to have memory freed: so much is in use, and none is on its way out,
    /// or as much is not sealed.
    fn lacks_room(&self) -> bool {
        let enough = self.enough_memory();
        if self.commits.memtable_bytes() < enough {
            return false;
        }
        let unsealed_bytes = || self.spaces.all().iter().map(|space| space.tree.active_bytes()).sum::<u64>();
        !self.jobs.is_flushing() || unsealed_bytes() >= enough
    }

    /// Seals the memtable of a keyspace at the newest commit, and has it flushed. `false` if it was empty.
    pub(crate) fn rotate(&self, order: &Order<'_>, space: &Space) -> bool {
        let sealed =
            space.tree.rotate(order.visible()).expect("INV-WAL-4: the boundary is the newest commit");
        if sealed {
            self.jobs.flush(space.id);
        }
        sealed
    }

    // ----- durability -----

    /// Has `call` made when `seqno` is durable, or cannot become so.
    pub(crate) fn on_durable(&self, seqno: Seqno, call: Call) {
        let visible = self.views.visible();
        let is_above = || {
            let message = format!("{seqno} is above the last commit, {visible}");
            (seqno > visible).then(|| Error::new(ErrorKind::InvalidArgument, message))
        };
        if let Some(error) = self.check_open().err().or_else(is_above) {
            return self.make_calls(vec![call], &Err(error));
        }
        if self.commits.durable() >= seqno {
            return self.make_calls(vec![call], &Ok(()));
        }
        self.durable_calls.add(seqno, call);
        self.jobs.sync();
        // If the end came meanwhile, nobody else would tell.
        if let Some(error) = self.commits.poisoned().or_else(|| self.check_open().err()) {
            self.end_durable_calls(&Err(self.locate(error)));
        }
    }

    /// Syncs the log, and tells those who want to hear of it.
    pub(crate) fn sync_for_calls(&self) -> Result<()> {
        let synced = self.commits.sync();
        if let Err(error) = &synced {
            self.end_durable_calls(&Err(self.locate(error.clone())));
        }
        self.make_calls(self.durable_calls.take_through(self.commits.durable()), &Ok(()));
        synced.map(drop)
    }

    /// Makes all calls that wait: of commits that are durable in any case, of others with this result.
    pub(crate) fn end_durable_calls(&self, result: &Result<()>) {
        self.make_calls(self.durable_calls.take_through(self.commits.durable()), &Ok(()));
        self.make_calls(self.durable_calls.take_through(Seqno::MAX), result);
    }

    /// Under no lock: they may do anything. One that panics harms nobody, and listeners are told of it.
    fn make_calls(&self, calls: Vec<Call>, result: &Result<()>) {
        for call in calls {
            if catch(|| call(result.clone())).is_err() {
                self.listeners.tell(&Event::ListenerPanicked);
            }
        }
    }

    // ----- telling -----

    /// Tells listeners once that writing stopped for good, and those who wait to hear of durable commits.
    pub(crate) fn tell_poison(&self, error: &Error) {
        self.told.poison(&self.listeners, error);
        if error.kind() == ErrorKind::Poisoned {
            self.end_durable_calls(&Err(error.clone()));
        }
    }

    /// The error for want of space that lasts: of commits, or of background work.
    pub(crate) fn out_of_space(&self) -> Option<Error> {
        self.commits.out_of_space().map(|error| self.locate(error)).or_else(|| self.jobs.out_of_space())
    }

    /// Tells listeners if space is missing or is there again since they were told the last time.
    pub(crate) fn tell_space(&self) {
        if self.told.lacks_space() || self.out_of_space().is_some() {
            self.told.space(&self.listeners, &|| self.out_of_space());
        }
    }

    /// Tells listeners what the outcome of a call changed, if anything.
    pub(crate) fn tell_outcome<T>(&self, result: &Result<T>) {
        let may_lack_space = match result {
            Ok(_) => self.told.lacks_space(),
            Err(error) => {
                self.tell_poison(error);
                error.kind() == ErrorKind::OutOfSpace
            }
        };
        if may_lack_space {
            self.tell_space();
        }
    }

    /// Tells listeners that a table is damaged. `error` names its tree and place.
    pub(crate) fn tell_damage(&self, error: &EngineError) {
        let table = self.damaged_table(error);
        self.listeners.tell(&Event::TableDamaged { table: &table });
    }

    /// Damage of a table in the words of this layer.
    pub(crate) fn damaged_table(&self, error: &EngineError) -> DamagedTable {
        let trees = self.store.trees();
        let tree = trees.into_iter().find(|tree| Some(tree.id) == error.tree());
        DamagedTable {
            keyspace: tree.map(|tree| tree.name).unwrap_or_default(),
            file: error.file().unwrap_or_default().into(),
            offset: error.offset(),
            keys: error.keys().cloned(),
            message: error.to_string(),
        }
    }

    // ----- options -----

    /// Changes options of the database, durably.
    pub(crate) fn set_db_options(&self, change: impl FnOnce(&mut DbOptions)) -> Result<()> {
        self.check_open()?;
        let set = || {
            let _turn = self.spaces.changes.lock();
            let present = self.settings.all();
            let mut wanted = present.clone();
            change(&mut wanted);
            let stored =
                self.store.note(OPTIONS).map_or(Ok(SetOptions::default()), |note| SetOptions::decode(&note));
            let (set, options) = stored?.changed(&present, &wanted)?;
            self.store.commit(&[Note::new(OPTIONS, set.encode())])?;
            self.apply_options(options);
            Ok(())
        };
        let result = set().map_err(|error: Error| self.locate(error));
        self.tell_outcome(&result);
        result
    }

    /// Puts options into force.
    fn apply_options(&self, options: DbOptions) {
        self.store.set_cache(options.cache_bytes, options.max_open_files);
        self.store.set_filter_budget(options.filter_budget_bytes.unwrap_or(u64::MAX));
        self.store.set_spare_memory(options.write_buffer_bytes);
        self.commits.set_memtable_limit(options.memory_budget - options.cache_bytes);
        self.set_healing(options.auto_heal);
        self.settings.set(options);
        // Of what is there now some may be too much, and nobody else would look before the next commit.
        if self.lacks_room() {
            self.seal(&self.commits.order(), &[]);
        }
        self.bound_log();
        self.jobs.wake_keeper();
    }

    /// Whether files that had to be corrected are written anew.
    pub(crate) fn set_healing(&self, is_enabled: bool) {
        let hints = self.store.healing();
        hints.set_enabled(is_enabled);
        if is_enabled {
            hints.trees().into_iter().for_each(|tree| self.jobs.compact(tree));
        }
    }

    // ----- views -----

    /// What a flush or compaction of this keyspace that starts now must keep.
    pub(crate) fn views_for_job(&self, space: &Space) -> Views {
        let retained_from = match space.keep_versions() {
            KeepVersions::Needed => None,
            KeepVersions::All => Some(Seqno::ZERO),
            KeepVersions::For(time) => {
                let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
                let then = UnixUs(self.views.now().0.saturating_sub(us));
                // Of what is not known everything is kept.
                Some(self.commits.with_ends(|ends| ends.end_at_time(then)).unwrap_or(Seqno::ZERO))
            }
        };
        self.views.for_job(retained_from)
    }

    /// Has the newest known commit at or before `at` held as a view.
    ///
    /// # Errors
    ///
    /// `SnapshotTooOld`: versions that it needs may be gone, or it is not known where commits ended then.
    pub(crate) fn take_view_at(&self, at: Seqno) -> Result<View> {
        self.check_open()?;
        let newest = self.views.take();
        if newest.seqno <= at {
            return Ok(newest);
        }
        self.views.release(newest);
        self.take_past_view(format_args!("{at}"), self.commits.with_ends(|ends| ends.end_at(at)))
    }

    /// As [`State::take_view_at`], of a time.
    ///
    /// # Errors
    ///
    /// As [`State::take_view_at`].
    pub(crate) fn take_view_at_time(&self, at: UnixUs) -> Result<View> {
        self.check_open()?;
        let end = self.commits.with_ends(|ends| ends.end_at_time(at));
        match end {
            Some(end) if end >= self.views.visible() => self.take_view_at(end),
            end => self.take_past_view(format_args!("the time {}", at.0), end),
        }
    }

    /// Holds a view at the end of a commit. It is held before it is looked at what jobs dropped: those that begin
    /// later keep what it sees.
    fn take_past_view(&self, at: fmt::Arguments<'_>, end: Option<Seqno>) -> Result<View> {
        let too_old = |message: String| {
            let error = Error::new(ErrorKind::SnapshotTooOld, message);
            Err(self.locate(error))
        };
        let Some(end) = end else {
            return too_old(format!("it is not known which commit was the newest at {at}"));
        };
        let view = self.views.take_at(end);
        let floor = |space: &Arc<Space>| (space.tree.read_floor(), space.name.clone());
        match self.spaces.all().iter().map(floor).find(|(floor, _)| *floor > end) {
            None => Ok(view),
            Some((floor, name)) => {
                self.views.release(view);
                too_old(format!(
                    "versions below {floor} may be gone in {name:?}, which a view at {end} would need"
                ))
            }
        }
    }

    // ----- keyspaces -----

    /// The keyspace of this name, created if missing.
    pub(crate) fn open_or_create(&self, name: &str, options: &KeyspaceOptions) -> Result<Arc<Space>> {
        self.check_open()?;
        if let Some(space) = self.keyspace(name)? {
            return Ok(space);
        }
        check_name(name)?;
        let tree_options = options.tree_options();
        self.store.check_options(&tree_options).map_err(|error| Error::from(error).in_keyspace(name))?;
        let result = self.create_in_turn(name, options, &tree_options);
        self.tell_outcome(&result);
        result
    }

    fn create_in_turn(
        &self,
        name: &str,
        options: &KeyspaceOptions,
        tree_options: &TreeOptions,
    ) -> Result<Arc<Space>> {
        let _turn = self.spaces.changes.lock();
        if let Some(space) = self.keyspace(name)? {
            return Ok(space);
        }
        if let Some(space) = self.spaces.by_name(name) {
            self.drop_space(&space)?; // Its drop failed half-way.
        }
        let id = self.store.reserve_tree_id().map_err(|error| self.locate(error))?;
        let change = KeyspaceChange::Create {
            id,
            name: name.into(),
            tree_options: tree_options.encode(),
            note: options.encode_note(),
        };
        // The record first, durable; then the edit.
        let at = self.commit_change(&change, Change::Create)?;
        point("keyspace.before_edit");
        // A log that does not reach that far any more was lost, not torn.
        let synced = Note::new(LOG_SYNCED, self.commits.wal.synced_upto().to_raw().to_le_bytes());
        let tree = change
            .redo(&self.store, at, &[synced])
            .map_err(|error| self.locate(error))?
            .expect("a tree was created");
        let space = Space::new(tree, options);
        self.spaces.insert(Arc::clone(&space));
        Ok(space)
    }

    /// Changes options of a keyspace, durably.
    pub(crate) fn set_options(&self, space: &Space, change: impl FnOnce(&mut KeyspaceOptions)) -> Result<()> {
        self.check_open()?;
        let set = || {
            let _turn = self.spaces.changes.lock();
            space.check_alive()?;
            let mut options = space.options();
            change(&mut options);
            space.set_options(&options, Note::new(keyspace_options(space.id), options.encode_note()))
        };
        let result = set().map_err(|error| self.locate(error.in_keyspace(&space.name)));
        self.tell_outcome(&result);
        result
    }

    /// The keyspace of this name, if there is one.
    ///
    /// # Errors
    ///
    /// What keeps it from being used, `MissingComparator` for one.
    pub(crate) fn keyspace(&self, name: &str) -> Result<Option<Arc<Space>>> {
        if let Some(space) = self.spaces.by_name(name) {
            return Ok((!space.is_dropped()).then_some(space));
        }
        if self.store.trees().iter().any(|tree| tree.name == name) {
            self.store.tree(name).map_err(|error| self.locate(Error::from(error).in_keyspace(name)))?;
        }
        Ok(None)
    }

    /// Drops a keyspace. `false` if there was none.
    pub(crate) fn drop_keyspace(&self, name: &str) -> Result<bool> {
        self.check_open()?;
        let result = self.drop_in_turn(name);
        self.tell_outcome(&result);
        result
    }

    fn drop_in_turn(&self, name: &str) -> Result<bool> {
        let _turn = self.spaces.changes.lock();
        match self.spaces.by_name(name) {
            Some(space) => self.drop_space(&space).map(|()| true),
            None => self.keyspace(name).map(|_| false),
        }
    }

    /// Drops a keyspace, or ends a drop that failed between its record and its edit: writes are refused
    /// already then.
    fn drop_space(&self, space: &Arc<Space>) -> Result<()> {
        let change = KeyspaceChange::Drop { id: space.id };
        let at = self.commit_change(&change, Change::Drop(Arc::clone(space)))?;
        point("keyspace.before_edit");
        let old = self.store.drop_tree(space.id, at).map_err(|error| self.locate(error))?;
        // Of the state that the drop found: a flush that ended before it has freed its part itself.
        self.commits.free_memory(old.memtable_bytes());
        self.spaces.remove(space.id);
        self.views.keep_old(old);
        Ok(())
    }

    /// Removes everything from a keyspace, and returns the position of that.
    pub(crate) fn clear(&self, space: &Arc<Space>) -> Result<Seqno> {
        self.check_open()?;
        let result = self.clear_in_turn(space);
        let result = result.map_err(|error| self.locate(error.in_keyspace(&space.name)));
        self.tell_outcome(&result);
        result
    }

    /// Alone in the order of commits from before the record until the old state is gone: what comes before it goes, what
    /// comes after stays, and nobody sees a number behind it beside what was before it.
    fn clear_in_turn(&self, space: &Arc<Space>) -> Result<Seqno> {
        let _turn = self.spaces.changes.lock();
        let body = KeyspaceChange::Clear { id: space.id }.encode();
        let request = Request {
            change: Change::Clear,
            spaces: slice::from_ref(space),
            count: 1,
            body: Body::Short(&body),
            durability: Durability::Sync,
        };
        let order = self.commits.order();
        let cleared = order.commit_with(&request, |at| {
            // The record first, durable; then the edit.
            self.commits.sync_once(at)?;
            point("keyspace.before_edit");
            let old = self.store.clear_tree(space.id, at);
            space.note_half_cleared(old.is_err());
            Ok(old?)
        });
        drop(order);
        self.after_request(&request, &cleared.as_ref().map(|(at, _)| *at).map_err(Clone::clone));
        let (at, old) = cleared?;
        // As of a drop. No job of what is there now owes anything.
        self.commits.free_memory(old.memtable_bytes());
        space.l0_runs.store(0, Ordering::Relaxed);
        space.debt_bytes.store(0, Ordering::Relaxed);
        self.views.keep_old(old);
        self.jobs.bound_log();
        Ok(at)
    }

    /// Logs a change of keyspaces, and returns when it is durable. Whoever is told of its outcome may do
    /// anything: that is for the caller, who holds a lock.
    fn commit_change(&self, change: &KeyspaceChange, kind: Change) -> Result<Seqno> {
        let dropped = match &kind {
            Change::Drop(space) if !space.is_dropped() => Some(Arc::clone(space)),
            _ => None,
        };
        let body = change.encode();
        let request = Request {
            change: kind,
            spaces: dropped.as_slice(),
            count: 1,
            body: Body::Short(&body),
            durability: Durability::Sync,
        };
        let result = self.commits.order().commit(&request);
        let result = result.and_then(|seqno| self.commits.sync_once(seqno).map(|()| seqno));
        self.after_request(&request, &result);
        result.map_err(|error| self.locate(error))
    }
}

/// Whether a range delete hides so many operations of a memtable that it is sealed before: what is sealed before the delete is
/// passed over at once by who scans, and not one operation after the other.
fn makes_hole(operations: &Operations, spaces: &[Arc<Space>]) -> bool {
    const MANY: u64 = 1_024;
    operations.ranges().any(|(tree, start, end)| {
        let space = spaces.iter().find(|space| space.id == tree);
        space.is_some_and(|space| space.tree.active_operations(start, end) >= MANY)
    })
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A change of keyspaces as it lies in the log. Layout: `docs/format.md` §6.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum KeyspaceChange {
    Create { id: TreeId, name: String, tree_options: Vec<u8>, note: Vec<u8> },
    Drop { id: TreeId },
    Clear { id: TreeId },
    Ingest { loads: Vec<LoadedTables> },
}

/// What a bulk load brought to a keyspace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LoadedTables {
    pub(crate) id: TreeId,
    pub(crate) entries: u64,
    /// Their uuids, in the order of keys.
    pub(crate) tables: Vec<Uuid>,
}

impl LoadedTables {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::from(self.id.0.to_le_bytes());
        bytes.extend_from_slice(&self.entries.to_le_bytes());
        self.tables.iter().for_each(|uuid| bytes.extend_from_slice(&uuid.0));
        bytes
    }

    fn decode(bytes: &[u8]) -> std::result::Result<LoadedTables, Corruption> {
        let mut fields = Reader::new(bytes);
        let (id, entries) = (TreeId(fields.u32()?), fields.u64()?);
        let (tables, []) = fields.bytes(fields.remaining())?.as_chunks::<16>() else {
            return Err(Corruption("the tables of a load are not whole"));
        };
        Ok(LoadedTables { id, entries, tables: tables.iter().map(|uuid| Uuid(*uuid)).collect() })
    }
}

const CREATE: u8 = 1;
const DROP: u8 = 2;
const NAME: u8 = 3;
const TREE_OPTIONS: u8 = 4;
const NOTE: u8 = 5;
const CLEAR: u8 = 6;
const LOAD: u8 = 7;

impl KeyspaceChange {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut fields = TlvWriter::new();
        match self {
            KeyspaceChange::Create { id, name, tree_options, note } => {
                fields.u64(CREATE, u64::from(id.0)).bytes(NAME, name.as_bytes());
                fields.bytes(TREE_OPTIONS, tree_options).bytes(NOTE, note);
            }
            KeyspaceChange::Drop { id } => {
                fields.u64(DROP, u64::from(id.0));
            }
            KeyspaceChange::Clear { id } => {
                fields.u64(CLEAR, u64::from(id.0));
            }
            KeyspaceChange::Ingest { loads } => {
                for load in loads {
                    fields.bytes(LOAD, &load.encode());
                }
            }
        }
        fields.finish()
    }

    /// The inverse of [`KeyspaceChange::encode`].
    ///
    /// # Errors
    ///
    /// Which rule the bytes break.
    pub(crate) fn decode(bytes: &[u8]) -> std::result::Result<KeyspaceChange, &'static str> {
        let mut fields = TlvReader::new(bytes);
        let (mut create, mut drop, mut clear) = (None, None, None);
        let (mut name, mut tree_options, mut note) = (None, None, Vec::new());
        let mut loads = Vec::new();
        while let Some((tag, value)) = fields.next_field().map_err(|why| why.0)? {
            let id = || {
                let raw = TlvReader::as_u64(value).map_err(|why| why.0)?;
                u32::try_from(raw).map(TreeId).map_err(|_| "a tree id exceeds 32 bits")
            };
            match tag {
                CREATE => create = Some(id()?),
                DROP => drop = Some(id()?),
                CLEAR => clear = Some(id()?),
                NAME => name = Some(String::from_utf8(value.into()).map_err(|_| "a name is not UTF-8")?),
                TREE_OPTIONS => tree_options = Some(Vec::from(value)),
                NOTE => note = value.into(),
                LOAD => loads.push(LoadedTables::decode(value).map_err(|why| why.0)?),
                unknown => TlvReader::unknown(unknown).map_err(|why| why.0)?,
            }
        }
        match (create, drop, clear, name, tree_options) {
            (None, None, None, None, None) if !loads.is_empty() => Ok(KeyspaceChange::Ingest { loads }),
            _ if !loads.is_empty() => Err("a load changes keyspaces otherwise too"),
            (Some(id), None, None, Some(name), Some(tree_options)) => {
                Ok(KeyspaceChange::Create { id, name, tree_options, note })
            }
            (None, Some(id), None, None, None) => Ok(KeyspaceChange::Drop { id }),
            (None, None, Some(id), None, None) => Ok(KeyspaceChange::Clear { id }),
            _ => Err("a change of keyspaces is neither a creation nor a drop nor a clearing nor a load"),
        }
    }

    /// Makes the edit that the record at `at` announces; a creation takes `notes` along. Returns the tree
    /// that it created. A load is not made again: who asked for it was told of no end.
    pub(crate) fn redo(
        &self,
        store: &Store,
        at: Seqno,
        notes: &[Note],
    ) -> isopach_engine::error::Result<Option<Tree>> {
        match self {
            KeyspaceChange::Create { id, name, tree_options, note } => {
                let options = TreeOptions::decode(tree_options)?;
                let own = Note::new(keyspace_options(*id), note.clone());
                let notes: Vec<Note> = notes.iter().cloned().chain([own]).collect();
                store.create_tree(*id, name, &options, &notes, at).map(Some)
            }
            KeyspaceChange::Drop { id } => store.drop_tree(*id, at).map(|_| None),
            KeyspaceChange::Clear { id } => store.clear_tree(*id, at).map(|_| None),
            KeyspaceChange::Ingest { .. } => Ok(None),
        }
    }
}
