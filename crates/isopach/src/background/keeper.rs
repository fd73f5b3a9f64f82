//! The keeper: what has to happen some time after something else. Sleeps for good while nothing is due.

use super::patrol::patrol_due_in;
use crate::state::State;
use isopach_env::sync::Instant;
use std::time::Duration;

/// An idle log is told this long after its last sync how far it is durable.
const IDLE_NOTE: Duration = Duration::from_millis(100);

/// What failed is tried again after this, and after twice as long each time it fails again, up to
/// [`MAX_RETRY`].
const RETRY: Duration = Duration::from_millis(500);
const MAX_RETRY: Duration = Duration::from_secs(4);

/// Syncs every so often if that was asked, notes syncs in an idle log, has failed jobs tried again, sees whether there
/// is space again when there was none, and has files read that are due to be.
pub(super) fn keep(state: &State) {
    while state.jobs.wait_wanted(patrol_due_in(state)) {
        let mut since_sync = Instant::now();
        let (mut since_retry, mut retry) = (Instant::now(), RETRY);
        let mut synced = state.commits.wal.synced_upto();
        loop {
            if patrol_due_in(state) == Some(Duration::ZERO) && state.passes.ask() {
                state.jobs.scrub();
            }
            let sync_every = state.settings.sync_every(); // It may change.
            if !state.jobs.keeper_sleeps(sync_every.map_or(IDLE_NOTE, |every| every.min(IDLE_NOTE))) {
                return;
            }
            let is_unsynced = state.commits.durable() < state.views.visible();
            let must_sync = sync_every.is_some() && is_unsynced;
            if must_sync && sync_every.is_some_and(|every| since_sync.elapsed() >= every) {
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
            if let Some(error) = state.commits.poisoned() {
                state.tell_poison(&state.locate(error));
                break;
            }
            let lacks_space = state.commits.out_of_space().is_some();
            let has_failed = lacks_space || state.jobs.has_failed();
            if has_failed && since_retry.elapsed() >= retry {
                (since_retry, retry) = (Instant::now(), (retry * 2).min(MAX_RETRY));
                state.jobs.retry_failed();
                if lacks_space {
                    state.commits.look_for_space();
                    state.tell_space();
                }
            }
            if is_quiet && !must_sync && !has_failed {
                break;
            }
        }
    }
}
