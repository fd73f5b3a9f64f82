//! The keeper: what has to happen some time after something else. Sleeps for good while nothing is due.

use crate::state::State;
use isopach_env::sync::Instant;
use std::time::Duration;

/// An idle log is told this long after its last sync how far it is durable.
const IDLE_NOTE: Duration = Duration::from_millis(100);

/// Failed jobs are tried again after this.
const RETRY: Duration = Duration::from_millis(500);

/// Syncs every so often if that was asked, notes syncs in an idle log, and has failed jobs tried again.
pub(super) fn keep(state: &State) {
    let tick = state.options.sync_every.map_or(IDLE_NOTE, |every| every.min(IDLE_NOTE));
    while state.jobs.wait_wanted() {
        let mut since_sync = Instant::now();
        let mut since_retry = Instant::now();
        let mut synced = state.commits.wal.synced_upto();
        loop {
            if !state.jobs.keeper_sleeps(tick) {
                return;
            }
            let is_unsynced = state.commits.durable() < state.views.visible();
            let must_sync = state.options.sync_every.is_some() && is_unsynced;
            if must_sync && state.options.sync_every.is_some_and(|every| since_sync.elapsed() >= every) {
                since_sync = Instant::now();
                if let Err(error) = state.commits.sync() {
                    state.tell_poison(&error);
                    break;
                }
            }
            let was_synced = std::mem::replace(&mut synced, state.commits.wal.synced_upto());
            let is_quiet = was_synced == synced;
            if is_quiet {
                // A failure shows at the next commit.
                let _ = state.commits.wal.append_void_if_idle();
                let _ = state.store.note_synced();
            }
            let has_failed = state.jobs.last_error().is_some() && state.commits.poisoned().is_none();
            if has_failed && since_retry.elapsed() >= RETRY {
                since_retry = Instant::now();
                state.jobs.retry_failed();
            }
            if is_quiet && !must_sync && !has_failed {
                break;
            }
        }
    }
}
