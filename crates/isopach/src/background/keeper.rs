//! The keeper: what has to happen some time after something else. Sleeps for good while nothing is due.

use crate::state::State;
use std::time::Duration;

/// An idle log is told this long after its last sync how far it is durable.
const IDLE_NOTE: Duration = Duration::from_millis(100);

/// Failed jobs are tried again after this.
const RETRY: Duration = Duration::from_millis(500);

/// Syncs every so often if that was asked, notes syncs in an idle log, and has failed jobs tried again.
pub(super) fn keep(state: &State) {
    while state.jobs.wait_wanted() {
        loop {
            let nap = state.options.sync_every.map_or(IDLE_NOTE, |every| every.min(RETRY));
            if !state.jobs.keeper_sleeps(nap) {
                return;
            }
            if state.options.sync_every.is_some()
                && state.commits.durable() < state.views.visible()
                && let Err(error) = state.commits.sync()
            {
                state.tell_poison(&error);
                break;
            }
            let before = state.commits.wal.synced_upto();
            if !state.jobs.keeper_sleeps(IDLE_NOTE) {
                return;
            }
            if state.commits.wal.synced_upto() == before {
                // A failure shows at the next commit.
                let _ = state.commits.wal.append_void_if_idle();
                let has_failed = state.jobs.last_error().is_some();
                if has_failed && (!state.jobs.keeper_sleeps(RETRY) || state.jobs.retry_failed()) {
                    continue;
                }
                let has_unsynced = state.commits.durable() < state.views.visible();
                if !(state.options.sync_every.is_some() && has_unsynced) {
                    break;
                }
            }
        }
    }
}
