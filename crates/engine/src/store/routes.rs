//! Routes: places for files beside the store's directory, as they are begun, found again and left.
//!
//! A place belongs to one store: its birth certificate `PLACE` says whose it is, and a lock file keeps two handles from
//! using it at once. It is begun before the edit that names it, so that a crash leaves at most a place without files.

use super::{
    Store,
    directory::LOCK,
    open::take_lock,
    orphans::{is_torn, number_of},
};
use crate::{
    blob::BLOBS_DIR,
    codec::{FileHeader, FileKind, HEADER_BYTES, HeaderError, header_error},
    error::{Error, ErrorKind, Result},
    place::PlaceId,
    table::TABLES_DIR,
    types::Uuid,
    version::{Catalog, Change, PlacedRoute, Route, Routes, new_uuid},
};
use alloc::{boxed::Box, format, string::String, sync::Arc, vec::Vec};
use core::fmt;
use isopach_env::{
    CreateOptions, FileLock, Fs, IoErrorKind, IoResult, Ledger, LockMode, MountFs, OpenMode, SyncMode,
    SyncSite, WriteOrigin,
};

/// Birth certificate of a place.
pub(super) const PLACE: &str = "PLACE";

/// Directories of a place.
const DIRECTORIES: [&str; 2] = [TABLES_DIR, BLOBS_DIR];

/// Finds the places of stored routes.
#[derive(Clone)]
pub struct FindPlaces {
    find: Arc<Find>,
    others: Vec<Arc<dyn Fs>>,
}

/// See [`FindPlaces::by`].
type Find = dyn Fn(&str) -> IoResult<Option<Arc<dyn Fs>>> + Send + Sync;

impl FindPlaces {
    /// Finds them by the names of their routes. `None`: nobody here knows the name. `NotFound`: it is known, and the place
    /// is not there.
    pub fn by(find: impl Fn(&str) -> IoResult<Option<Arc<dyn Fs>>> + Send + Sync + 'static) -> FindPlaces {
        FindPlaces { find: Arc::new(find), others: Vec::new() }
    }

    /// Where a place is not found by its name, it may be one of these: places are known by their `PLACE`.
    #[must_use]
    pub fn or_among(self, others: Vec<Arc<dyn Fs>>) -> FindPlaces {
        FindPlaces { others, ..self }
    }
}

/// Knows none.
impl Default for FindPlaces {
    fn default() -> FindPlaces {
        FindPlaces::by(|_| Ok(None))
    }
}

impl fmt::Debug for FindPlaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FindPlaces").finish_non_exhaustive()
    }
}

/// The places of a store that is being opened: mounted, locked, and surely its own.
#[derive(Default)]
pub(super) struct OpenPlaces {
    pub(super) locks: Vec<Box<dyn FileLock>>,
    /// Those of retired routes that have no file any more.
    given_up: Vec<GivenUp>,
}

/// A place, locked where it can be.
struct GivenUp {
    place: Arc<dyn Fs>,
    _lock: Option<Box<dyn FileLock>>,
}

impl OpenPlaces {
    /// Leaves places that no manifest names any more to whoever wants them. What cannot be removed stays, as after a crash.
    pub(super) fn give_up(&mut self) {
        for GivenUp { place, _lock } in self.given_up.drain(..) {
            let _ = place.remove_file(PLACE);
        }
    }
}

/// Mounts the places that a catalog needs, and takes out of it the routes that nothing needs any more. Writes nothing but
/// lock files, and directories that a place lost while they were empty.
///
/// # Errors
///
/// `MissingRoute` if nobody knows a place, or it is not there or empty; `MixedStore` if it is another store's; `Locked`.
pub(super) fn open_places(
    fs: &MountFs,
    catalog: &mut Catalog,
    find: &FindPlaces,
    (database, mode): (Uuid, LockMode),
) -> Result<OpenPlaces> {
    let mut open = OpenPlaces::default();
    let mut needed = Vec::new();
    for placed in catalog.routes.iter() {
        let is_named = !placed.route.is_retired() || catalog.has_files_in(placed.place);
        let place = match find_place(placed, find, database) {
            Err(_) if !is_named => continue, // With whatever a crash left there.
            found => found?,
        };
        let about = |error| about(error, &placed.route);
        let lock = take_lock(&*place, mode).map_err(about)?;
        if is_named || mode == LockMode::Shared || has_files(&*place).map_err(about)? {
            if mode == LockMode::Exclusive {
                make_directories(&*place).map_err(about)?;
            }
            mount(fs, placed, place)?;
            open.locks.extend(lock);
            needed.push(placed.clone());
        } else {
            open.given_up.push(GivenUp { place, _lock: lock });
        }
    }
    catalog.routes = Routes::new(needed).expect("some of sound routes are sound");
    Ok(open)
}

fn find_place(placed: &PlacedRoute, find: &FindPlaces, database: Uuid) -> Result<Arc<dyn Fs>> {
    let PlacedRoute { route, uuid, .. } = placed;
    let is_it = |place: &dyn Fs| {
        let certificate = read_certificate(place).map_err(|error| about(error, route))?;
        Ok(certificate.map(|header| (header.database, header.file) == (database, *uuid)))
    };
    let missing = |why: &str| {
        let message = format!("files of the store lie at the route {:?}, {why}", route.name);
        Error::new(ErrorKind::MissingRoute, message)
    };
    let error = match (find.find)(&route.name) {
        Ok(Some(place)) => match is_it(&*place)? {
            Some(true) => return Ok(place),
            Some(false) => {
                let message = format!("the route {:?} leads to the place of another store", route.name);
                Error::new(ErrorKind::MixedStore, message)
            }
            None => missing("where no PLACE is: is its disk mounted?"),
        },
        Ok(None) => missing("which was not given: open the store with it"),
        Err(error) if matches!(error.kind(), IoErrorKind::NotFound | IoErrorKind::NotADirectory) => {
            missing("which is not there: is its disk mounted?")
        }
        Err(error) => about(Error::io(error, "open the place", "."), route),
    };
    let other = find.others.iter().find(|other| matches!(is_it(&***other), Ok(Some(true))));
    other.cloned().ok_or(error)
}

fn mount(fs: &MountFs, placed: &PlacedRoute, place: Arc<dyn Fs>) -> Result<()> {
    let directory = placed.place.directory();
    fs.mount(&directory, place).map_err(|error| Error::io(error, "mount a place at", directory))
}

/// Names of tables and separated values, or whatever lies in their directories.
fn files_in(place: &dyn Fs) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for directory in DIRECTORIES {
        match place.list(directory) {
            Err(error) if error.kind() == IoErrorKind::NotFound => {}
            listed => {
                let listed = listed.map_err(|error| Error::io(error, "list", directory))?;
                names.extend(listed.into_iter().map(|entry| format!("{directory}/{}", entry.name)));
            }
        }
    }
    Ok(names)
}

/// Whether a table or separated values are there, of whatever store.
fn has_files(place: &dyn Fs) -> Result<bool> {
    files_in(place).map(|names| !names.is_empty())
}

/// The first bytes of `PLACE`; `None` if it is not there.
fn read_place(place: &dyn Fs) -> Result<Option<Vec<u8>>> {
    let io = |error| Error::io(error, "read", PLACE);
    let file = match place.open(PLACE, OpenMode::Read) {
        Err(error) if error.kind() == IoErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io)?,
    };
    let mut bytes = [0; HEADER_BYTES];
    let read = file.read_at(0, &mut bytes).map_err(io)?;
    Ok(Some(Vec::from(&bytes[..read])))
}

/// What a place says of itself; `None` if it says nothing.
fn read_certificate(place: &dyn Fs) -> Result<Option<FileHeader>> {
    let Some(bytes) = read_place(place)? else { return Ok(None) };
    decode_certificate(&bytes).map(Some).map_err(|error| header_error(error, PLACE))
}

fn decode_certificate(bytes: &[u8]) -> Result<FileHeader, HeaderError> {
    let bytes = bytes.first_chunk().ok_or(HeaderError::Foreign)?;
    match FileHeader::decode(bytes)? {
        header if header.kind == FileKind::Place => Ok(header),
        _ => Err(HeaderError::Foreign),
    }
}

/// An error of a place, which says whose route leads there.
fn about(error: Error, route: &Route) -> Error {
    error.adding(&format!("; of the place of the route {:?}", route.name))
}

/// What a directory is to who wants it as a place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Empty, or what a beginning that was interrupted leaves.
    Free,
    /// A place of this store, of a route that it has or had.
    Own(Uuid),
}

impl Store {
    /// Routes, with those that were retired and have files yet.
    pub fn routes(&self) -> Vec<PlacedRoute> {
        self.with_catalog(|catalog| catalog.routes.iter().cloned().collect())
    }

    /// The place of the route of this name.
    pub fn place(&self, name: &str) -> Option<Arc<dyn Fs>> {
        let placed = self.routes().into_iter().find(|placed| placed.route.name == name)?;
        self.0.mounts.mounted(&placed.place.directory()).cloned()
    }

    /// The route whose place this is.
    ///
    /// # Errors
    ///
    /// The backend's.
    pub fn route_to(&self, place: &dyn Fs) -> Result<Option<PlacedRoute>> {
        let certificate = read_place(place)?.and_then(|bytes| decode_certificate(&bytes).ok());
        let Some(header) = certificate.filter(|header| header.database == self.uuid()) else {
            return Ok(None);
        };
        Ok(self.routes().into_iter().find(|placed| placed.uuid == header.file))
    }

    /// Bytes written to all places, by cause. Of those of backends that do not count nothing is known.
    pub fn written_bytes(&self) -> Vec<(WriteOrigin, u64)> {
        let mut ledgers: Vec<&Ledger> = Vec::new();
        for ledger in self.0.mounts.backends().filter_map(|fs| fs.ledger()) {
            if !ledgers.iter().any(|known| core::ptr::eq(*known, ledger)) {
                ledgers.push(ledger); // Places of one backend count together.
            }
        }
        let of = |origin: WriteOrigin| ledgers.iter().map(|ledger| ledger.bytes(origin)).sum();
        WriteOrigin::ALL.iter().map(|&origin| (origin, of(origin))).collect()
    }

    /// Has new files of these levels, and new separated values, made in these places, each an empty directory or one that
    /// this store had before. All others are made in the store's directory. Durable on return. What is there stays where it
    /// is until it is compacted; places of routes that are not among these are needed until then.
    ///
    /// A route of a place that there is keeps it, and gives it another name perhaps.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if two are of one name, place or level, one is of a level that there is not, or they are more than
    /// [`MAX_ROUTES`](crate::version::MAX_ROUTES); `AlreadyExists` if a place holds something else, or a route of its name has
    /// another place; `MixedStore` if it is another store's; `Locked`; `Corruption` if files there are newer than the store;
    /// those of [`Store::commit`]. No route is changed then; places that were fit may have been begun.
    pub fn set_routes(&self, wanted: Vec<(Route, Arc<dyn Fs>)>) -> Result<()> {
        let _lease = self.0.context.enter()?;
        let _routes = self.0.routes.lock();
        let manifest = self.0.context.manifest()?;
        manifest.check()?;
        let refused = |why| Error::new(ErrorKind::InvalidArgument, why);
        Route::check_all(&wanted.iter().map(|(route, _)| route).collect::<Vec<_>>()).map_err(refused)?;

        // Nothing is written before all were looked at.
        let known = self.routes();
        let (mut routes, mut new) = (Vec::new(), Vec::new());
        for (route, place) in wanted {
            let found = self.look_at(&*place).map_err(|error| about(error, &route))?;
            if let Some(old) = known.iter().find(|old| found == Found::Own(old.uuid)) {
                routes.push(PlacedRoute { route, ..old.clone() });
            } else if known.iter().any(|old| old.route.name == route.name) {
                let message = format!("the route {:?} has another place already", route.name);
                return Err(Error::new(ErrorKind::AlreadyExists, message));
            } else {
                new.push((route, place));
            }
        }
        let mut locks = Vec::new();
        for (route, place) in new {
            let about = |error| about(error, &route);
            locks.extend(take_lock(&*place, LockMode::Exclusive).map_err(about)?);
            // Again, now that nobody else can change it.
            let uuid =
                self.look_at(&*place).and_then(|found| self.begin_place(&*place, found)).map_err(about)?;
            let placed = PlacedRoute { place: self.free_place(&known, &routes), uuid, route };
            if !routes.iter().chain(&known).any(|other| other.uuid == uuid) {
                mount(&self.0.mounts, &placed, place)?;
            }
            routes.push(placed);
        }
        let is_kept = |old: &PlacedRoute| routes.iter().any(|route| route.place == old.place);
        let retired: Vec<PlacedRoute> = known.into_iter().filter(|old| !is_kept(old)).map(retire).collect();
        routes.extend(retired);
        manifest.commit(&[Change::Routes(Routes::new(routes).map_err(refused)?)])?;
        self.0.context.tables.life.hold(locks);
        Ok(())
    }

    /// Says what a place is. Writes nothing.
    fn look_at(&self, place: &dyn Fs) -> Result<Found> {
        let refused = |kind, why| Err(Error::new(kind, why));
        match read_place(place)?.map(|bytes| (decode_certificate(&bytes), bytes)) {
            Some((Ok(header), _)) if header.database == self.uuid() => return Ok(Found::Own(header.file)),
            Some((Ok(_), _)) => {
                let why = "the place is another store's; where that is gone, remove PLACE there";
                return refused(ErrorKind::MixedStore, why);
            }
            Some((Err(error @ (HeaderError::Version(_) | HeaderError::Protected)), _)) => {
                return Err(header_error(error, PLACE));
            }
            Some((Err(_), bytes)) if !is_torn(FileKind::Place, &bytes) => {
                let why = "PLACE there is not a file of a store: give an empty directory";
                return refused(ErrorKind::AlreadyExists, why);
            }
            _ => {}
        }
        let ours = |name: &str| DIRECTORIES.contains(&name) || name == PLACE || name == LOCK;
        let no_matter = |name: &str| name.starts_with('.') || name == "lost+found";
        let entries = place.list("").map_err(|error| Error::io(error, "list", "."))?;
        if entries.iter().any(|entry| !ours(&entry.name) && !no_matter(&entry.name)) || has_files(place)? {
            let why = "the place is not empty, and not this store's: give an empty directory";
            return refused(ErrorKind::AlreadyExists, why);
        }
        Ok(Found::Free)
    }

    /// Makes a place this store's. Its uuid, its directories and its own entry are durable on return.
    fn begin_place(&self, place: &dyn Fs, found: Found) -> Result<Uuid> {
        let io = |name: &'static str| move |error| Error::io(error, "begin a place", name);
        make_directories(place)?;
        let (certificate, uuid) = match found {
            Found::Own(uuid) => {
                self.check_numbers(place)?;
                (place.open(PLACE, OpenMode::ReadWrite).map_err(io(PLACE))?, uuid)
            }
            Found::Free => {
                match place.remove_file(PLACE) {
                    Err(error) if error.kind() != IoErrorKind::NotFound => return Err(io(PLACE)(error)),
                    _ => {}
                }
                let uuid = new_uuid(&*self.env().entropy)?;
                let header = FileHeader::clear(FileKind::Place, uuid, self.uuid());
                let options = CreateOptions::new(WriteOrigin::Metadata);
                let certificate = place.create(PLACE, &options).map_err(io(PLACE))?;
                certificate.write_at(0, &header.encode()).map_err(io(PLACE))?;
                (certificate, uuid)
            }
        };
        // Also of what is there: who wrote it may have died before this.
        certificate.sync(SyncMode::Durable, SyncSite("route.place")).map_err(io(PLACE))?;
        place.sync_dir("", SyncSite("route.begin")).map_err(io("."))?;
        place.sync_parent(SyncSite("route.parent")).map_err(io(".."))?;
        Ok(uuid)
    }

    /// Says whether files that lie in a place are numbered below the mark.
    fn check_numbers(&self, place: &dyn Fs) -> Result<()> {
        let mark = self.with_catalog(|catalog| catalog.file_id_mark);
        let is_newer = |name: &String| number_of(name).is_some_and(|number| number >= mark);
        match files_in(place)?.into_iter().find(is_newer) {
            None => Ok(()),
            Some(name) => {
                let why = format!("the file is numbered above {mark}: the place is newer than the store");
                Err(Error::corrupt(name, 0, why))
            }
        }
    }

    /// A number that no place has, nor had since the store was opened.
    fn free_place(&self, known: &[PlacedRoute], new: &[PlacedRoute]) -> PlaceId {
        let is_free = |place: &PlaceId| {
            known.iter().chain(new).all(|other| other.place != *place)
                && self.0.mounts.mounted(&place.directory()).is_none()
        };
        (1..=u32::MAX).map(PlaceId).find(is_free).expect("places are few")
    }
}

/// A route to which no file is brought any more.
fn retire(placed: PlacedRoute) -> PlacedRoute {
    let route = Route { levels: None, has_blobs: false, name: placed.route.name };
    PlacedRoute { route, ..placed }
}

/// Makes the directories of a place that are missing.
fn make_directories(place: &dyn Fs) -> Result<()> {
    for name in DIRECTORIES {
        match place.create_dir(name) {
            Err(error) if error.kind() == IoErrorKind::AlreadyExists => {}
            made => made.map_err(|error| Error::io(error, "create the directory", name))?,
        }
    }
    Ok(())
}
