//! A database in the directory `db` of files that may crash, from its creation on, with its ledger.

use super::{
    activity::{Activity, UnderWay},
    ledger::Ledger,
    workload::{Act, Writer},
};
use crate::{
    Rng,
    db::{PLACES, SOON, routes_in, small},
    keys::{KEYS, ONLY},
};
use isopach::{
    Builder, CheckpointOptions, Db,
    env::{Fs, IoErrorKind, SubDir, SyncSite},
};
use std::{ops::ControlFlow, sync::Arc};

/// Directory of the database.
pub const DATABASE: &str = "db";

/// How much of a run is left to chance beside its seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// Background work runs beside the acts, as it comes.
    Free,
    /// One background thread, and each act waits for it: the same acts take the same steps.
    Stepwise,
}

/// A database and what is done to it.
pub struct Run<F> {
    files: F,
    ledger: Ledger,
    under_way: UnderWay,
    pace: Pace,
    rng: Rng,
    /// Whether the log is mapped; `None`: by chance, in each life.
    is_mapped: Option<bool>,
    /// Whether what is written holds [`CANARY`](super::CANARY).
    plants: bool,
    /// `None` while it is closed.
    db: Option<Db>,
}

impl<F: Fs + Clone> Run<F> {
    /// Nothing is there yet, or a database of which the ledger knows.
    pub fn new(files: &F, ledger: &Ledger, pace: Pace, rng: Rng) -> Run<F> {
        let under_way = UnderWay::default();
        let (files, ledger) = (files.clone(), ledger.clone());
        Run { files, ledger, under_way, pace, rng, is_mapped: None, plants: false, db: None }
    }

    /// Always writes the log, or always maps it.
    #[must_use]
    pub fn mapped_log(self, is_mapped: bool) -> Run<F> {
        Run { is_mapped: Some(is_mapped), ..self }
    }

    /// Has keys, values and names of keyspaces hold [`CANARY`](super::CANARY), which is looked for in every image.
    #[must_use]
    pub fn planting(self) -> Run<F> {
        Run { plants: true, ..self }
    }

    pub(super) fn plants(&self) -> bool {
        self.plants
    }

    /// The files.
    pub fn files(&self) -> &F {
        &self.files
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What is under way, for who takes images.
    pub fn under_way(&self) -> UnderWay {
        self.under_way.clone()
    }

    /// Does these things in turn; opens the database if it is not open.
    ///
    /// # Panics
    ///
    /// If one fails.
    pub fn perform(&mut self, acts: &[Act]) {
        self.open();
        for &act in acts {
            match act {
                Act::Checkpoint => self.checkpoint().expect("it can be copied"),
                Act::Reopen => {
                    self.close();
                    self.open();
                }
                Act::Abandon => {
                    self.abandon();
                    self.open();
                }
                _ => self.write(act),
            }
            if self.pace == Pace::Stepwise {
                self.db().wait_idle(SOON).expect("background work ends");
            }
        }
    }

    /// Random acts.
    pub fn perform_any(&mut self, acts: usize) {
        let workload = Act::workload(&mut self.rng, acts);
        self.perform(&workload);
    }

    /// The open database.
    ///
    /// # Panics
    ///
    /// If it is not open.
    pub fn db(&self) -> &Db {
        self.db.as_ref().expect("it is open")
    }

    /// Opens the database, and makes it if it is not there.
    pub fn open(&mut self) {
        if self.db.is_some() {
            return;
        }
        let is_new = match self.files.create_dir(DATABASE) {
            Ok(()) => true,
            Err(error) if error.kind() == IoErrorKind::AlreadyExists => false,
            Err(error) => panic!("{error}"),
        };
        let recovery = (!is_new).then(|| self.under_way.begin(Activity::Recovery));
        self.db = Some(self.builder().open().expect("a database opens after anything"));
        drop(recovery);
    }

    /// Makes [`PLACES`], and has files of some levels and separated values made there; opens the database if it is not open.
    ///
    /// # Panics
    ///
    /// If they are there.
    pub fn route(&mut self) {
        self.open();
        for place in PLACES {
            self.files.create_dir(&format!("{DATABASE}/{place}")).expect("it is new");
        }
        let place: Arc<dyn Fs> =
            Arc::new(SubDir::open(Arc::new(self.files.clone()), DATABASE).expect("the database lies there"));
        self.db().set_routes(routes_in(&place)).expect("the places are empty");
    }

    /// Has the database encrypted under one of [`KEYS`] from its next opening on, or not any more; makes its directory if it
    /// is not there.
    ///
    /// # Panics
    ///
    /// If it is already.
    pub fn encrypt(&mut self, key: u64) {
        if self.db.is_none() && self.files.exists(DATABASE) == Ok(false) {
            self.files.create_dir(DATABASE).expect("it is new");
        }
        self.mark(KEYS[place_of(key)].0);
    }

    /// Brings everything under the key that [`Run::encrypt`] named last, which is the only one that is known from then on.
    ///
    /// # Panics
    ///
    /// If that fails, or was done before.
    pub fn finish_rotation(&mut self, key: u64) {
        self.open();
        self.db().finish_rotation(|_| ControlFlow::Continue(())).expect("nothing is in the way");
        self.mark(ONLY[place_of(key)]);
    }

    /// Makes a directory in that of the database, durably.
    fn mark(&self, name: &str) {
        self.files.create_dir(&format!("{DATABASE}/{name}")).expect("it is new");
        self.files.sync_dir(DATABASE, SyncSite("test.mark")).expect("nothing is in the way");
    }

    /// Closes it.
    pub fn close(&mut self) {
        let closing = self.under_way.begin(Activity::Close);
        if let Some(db) = self.db.take() {
            db.close().expect("it can be closed");
            self.ledger.all_is_durable();
        }
        drop(closing);
    }

    /// Lets the handle go.
    pub fn abandon(&mut self) {
        let closing = self.under_way.begin(Activity::Close);
        drop(self.db.take());
        drop(closing);
    }

    fn builder(&mut self) -> Builder {
        let place = SubDir::open(Arc::new(self.files.clone()), DATABASE).expect("it was made");
        // The log is mapped in one life and written in the next.
        let is_mapped = self.is_mapped.unwrap_or_else(|| self.rng.one_in(2));
        let builder = small(place).listener(self.under_way.clone()).mapped_log(is_mapped);
        if self.pace == Pace::Stepwise { builder.threads(1) } else { builder }
    }

    fn write(&mut self, act: Act) {
        let change = matches!(act, Act::Create | Act::Clear | Act::Drop);
        let changing = change.then(|| self.under_way.begin(Activity::KeyspaceChange));
        let rng = self.rng.fork();
        let writer = Writer::new(self.db(), &self.ledger, rng);
        let mut writer = if self.plants { writer.planting() } else { writer };
        writer.perform(act);
        drop(changing);
    }

    /// Copies the open database.
    ///
    /// # Errors
    ///
    /// Why there is no copy: the ledger then expects nothing of it.
    pub fn checkpoint(&mut self) -> isopach::Result<()> {
        let name = format!("copy-{}", self.ledger.checkpoints().len());
        let options = CheckpointOptions::new().flush(self.rng.one_in(3)).reflink(self.rng.one_in(2));
        self.ledger.begin_checkpoint(&name);
        let copying = self.under_way.begin(Activity::Checkpoint);
        let made = self.db().checkpoint_to(Arc::new(self.files.clone()), &name, options);
        drop(copying);
        self.ledger.end_checkpoint(made.is_err());
        made.map(drop)
    }
}

/// Of a key among [`KEYS`].
fn place_of(key: u64) -> usize {
    KEYS.iter().position(|(_, of)| *of == key).expect("it is one of them")
}
