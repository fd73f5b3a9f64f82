//! The end of an open database: background, log, lock, in this order.

use crate::{
    background::{Threads, flush_now, is_background_thread},
    error::{Error, ErrorKind, Result},
    events::Event,
    notes::{CLEAN_END, CleanClose},
    recovery::Recovery,
    space::Space,
    state::State,
};
use isopach_engine::version::Note;
use isopach_env::sync::{Condvar, Instant, Mutex, Rank, atomic::Ordering, thread};
use std::{fmt, path::Path, sync::Arc, time::Duration};

/// Of the threads, taken once by who closes.
const THREADS: Rank = Rank::new(3, "handle.threads");
/// Of waiting for the directory to be free.
const FREE: Rank = Rank::new(95, "handle.free");

/// What all handles of an open database share. The last one closes it.
pub(crate) struct Handle {
    pub(crate) state: Arc<State>,
    pub(crate) path: Arc<Path>,
    /// What opening found.
    pub(crate) recovery: Recovery,
    threads: Mutex<Option<Threads>>,
}

impl Handle {
    /// Starts the background of a database.
    ///
    /// # Errors
    ///
    /// The operating system gives no thread.
    pub(crate) fn start(state: State, recovery: Recovery) -> Result<Arc<Handle>> {
        let state = Arc::new(state);
        let jobs = Arc::downgrade(&state);
        let wake = move || {
            if let Some(state) = jobs.upgrade() {
                state.jobs.delete();
            }
        };
        state.store.files().set_waker(Arc::new(wake));
        let watching = Arc::downgrade(&state);
        state.store.watch_damage(Arc::new(move |error| {
            if let Some(state) = watching.upgrade() {
                state.tell_damage(error);
            }
        }));
        let healing = Arc::downgrade(&state);
        state.store.healing().set_watch(Arc::new(move |tree| {
            if let Some(state) = healing.upgrade() {
                state.jobs.compact(tree);
            }
        }));
        state.set_healing(state.settings.all().auto_heal);
        let threads = Threads::start(&state)?;
        let path = Arc::from(state.path.as_path());
        Ok(Arc::new(Handle { state, path, recovery, threads: Mutex::new(THREADS, Some(threads)) }))
    }

    /// Closes the database for every handle, and waits at most `limit` for readers.
    ///
    /// # Errors
    ///
    /// What the last sync said; `Busy` if readers remain, or if this is a background thread: the closing then
    /// goes on in a thread of its own.
    pub(crate) fn close(&self, limit: Duration) -> Result<()> {
        let deadline = Instant::now().checked_add(limit);
        let threads = self.threads.lock().take();
        if is_background_thread() {
            threads.into_iter().for_each(|threads| self.close_apart(threads));
            let message =
                "the database is being closed; background work, listeners too, cannot wait for its end";
            return Err(self.state.locate(Error::new(ErrorKind::Busy, message)));
        }
        if let Some(threads) = threads {
            close_once(&self.state, threads).map_err(|error| self.state.locate(error))?;
        }
        wait_until_free(&self.state, deadline)
    }

    /// Closes in a thread of its own: one that does background work cannot wait for its own end.
    fn close_apart(&self, threads: Threads) {
        let state = Arc::clone(&self.state);
        let close = move || close_and_tell(&state, threads);
        drop(thread::Builder::new().name("isopach-close".into()).spawn(close));
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let Some(threads) = self.threads.get_mut().take() else {
            return;
        };
        if is_background_thread() {
            self.close_apart(threads);
        } else {
            close_and_tell(&self.state, threads);
        }
    }
}

fn close_and_tell(state: &State, threads: Threads) {
    if let Err(error) = close_once(state, threads) {
        state.listeners.tell(&Event::BackgroundError { error: &state.locate(error) });
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("path", &self.path).finish_non_exhaustive()
    }
}

/// New calls are refused; background work ends; what the log does not hold is flushed; the log is synced and
/// its end noted.
fn close_once(state: &State, threads: Threads) -> Result<()> {
    state.is_closed.store(true, Ordering::Release);
    state.jobs.stop();
    state.commits.wake_writers();
    threads.join();
    let result = end_log(state);
    state.end_durable_calls(&result);
    state.store.files().run_deletions(u64::MAX);
    state.store.close();
    result
}

/// Flushes what the log does not hold, and notes where the log ends.
fn end_log(state: &State) -> Result<()> {
    loop {
        // Alone in the order of commits: who comes later finds it ended.
        let order = state.commits.order();
        if let Some(error) = state.commits.poisoned() {
            return Err(error);
        }
        let is_volatile = |space: &Arc<Space>| space.last_volatile() > space.tree.replay_point();
        let volatile: Vec<_> = state.spaces.all().into_iter().filter(is_volatile).collect();
        if volatile.is_empty() {
            let (last_used, last_time) = order.end();
            let end = state.commits.wal.close()?.end;
            let note = Note::new(CLEAN_END, CleanClose { end, last_used, last_time }.encode());
            let notes = [note, state.commits.note_of_ends()]
                .into_iter()
                .chain(state.passes.unnoted().map(|(_, note)| note));
            state.store.commit(&notes.collect::<Vec<_>>())?;
            state.store.note_synced()?;
            return Ok(());
        }
        drop(order); // A flush may want to be alone itself.
        for space in volatile {
            flush_now(state, &space)?;
        }
    }
}

fn wait_until_free(state: &State, deadline: Option<Instant>) -> Result<()> {
    let free = Arc::new((Mutex::new(FREE, false), Condvar::new()));
    let told = Arc::clone(&free);
    state.store.at_end(move || {
        *told.0.lock() = true;
        told.1.notify_all();
    });
    let mut is_free = free.0.lock();
    while !*is_free {
        let left = deadline.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            let message =
                "the database is closed, but readers still use its files; the lock is held until they end";
            return Err(state.locate(Error::new(ErrorKind::Busy, message)));
        }
        is_free = free.1.wait_timeout(is_free, left.min(Duration::from_secs(3600))).0;
    }
    Ok(())
}
