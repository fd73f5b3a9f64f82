//! Routes: places for files beside the store's directory, as they are begun, found again and left.
//!
//! A place belongs to one store: its birth certificate `PLACE` says whose it is, and a lock file keeps two handles from
//! using it at once. It is begun before the edit that names it, so that a crash leaves at most a place without files.

use super::{
    Store,
    directory::{LOCK, write_certificate},
    open::take_lock,
};
use crate::{
    blob::BLOBS_DIR,
    codec::{FileHeader, FileKind, HEADER_BYTES},
    error::{Error, ErrorKind, Result},
    place::PlaceId,
    table::TABLES_DIR,
    types::Uuid,
    version::{Catalog, Change, PlacedRoute, Route, Routes, new_uuid},
};
use alloc::{boxed::Box, format, string::String, sync::Arc, vec::Vec};
use core::fmt;
use isopach_env::{
    FileLock, Fs, IoErrorKind, IoResult, Ledger, LockMode, MountFs, OpenMode, SyncSite, WriteOrigin,
};

/// Birth certificate of a place.
pub(super) const PLACE: &str = "PLACE";

/// Directories of a place.
const DIRECTORIES: [&str; 2] = [TABLES_DIR, BLOBS_DIR];

/// Finds the places of stored routes by the names of these.
#[derive(Clone)]
pub struct FindPlaces(Arc<Find>);

/// `None`: nobody here knows the name. `NotFound`: it is known, and the place is not there.
type Find = dyn Fn(&str) -> IoResult<Option<Arc<dyn Fs>>> + Send + Sync;

impl FindPlaces {
    /// Finds them so. `None`: nobody here knows the name. `NotFound`: it is known, and the place is not there.
    pub fn by(find: impl Fn(&str) -> IoResult<Option<Arc<dyn Fs>>> + Send + Sync + 'static) -> FindPlaces {
        FindPlaces(Arc::new(find))
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
    /// Routes that were retired and whose places have no file any more: what is left of them.
    pub(super) left: Vec<String>,
}

/// Mounts the places that a catalog needs, and takes out of it the routes that nothing needs any more. Writes nothing but
/// lock files.
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
    let mut routes = Vec::new();
    for of in catalog.routes.iter() {
        let is_needed = !of.route.is_retired() || catalog.has_files_in(of.place);
        let found = find_place(of, find, database);
        let place = match found {
            Err(_) if !is_needed => continue, // With whatever a crash left there.
            found => found?,
        };
        open.locks.extend(take_lock(&*place, mode).map_err(|error| about(error, &of.route))?);
        let has_rest = has_files(&*place).map_err(|error| Error::io(error, "list", of.place.directory()))?;
        mount(fs, of, place)?;
        if is_needed || has_rest || mode == LockMode::Shared {
            routes.push(of.clone());
        } else {
            open.left.push(of.place.name_of(PLACE));
        }
    }
    catalog.routes = Routes::new(routes).expect("some of sound routes are sound");
    Ok(open)
}

fn find_place(of: &PlacedRoute, find: &FindPlaces, database: Uuid) -> Result<Arc<dyn Fs>> {
    let PlacedRoute { route, uuid, .. } = of;
    let missing = |why: &str| {
        let message = format!("files of the store lie at the route {:?}, {why}", route.name);
        Error::new(ErrorKind::MissingRoute, message)
    };
    let place = match (find.0)(&route.name) {
        Ok(Some(place)) => place,
        Ok(None) => return Err(missing("which was not given: open the store with it")),
        Err(error) if matches!(error.kind(), IoErrorKind::NotFound | IoErrorKind::NotADirectory) => {
            return Err(missing("which is not there: is its disk mounted?"));
        }
        Err(error) => return Err(about(Error::io(error, "open the place", "."), route)),
    };
    match read_certificate(&*place).map_err(|error| about(error, route))? {
        None => Err(missing("where no PLACE is: is its disk mounted?")),
        Some(header) if (header.database, header.file) == (database, *uuid) => Ok(place),
        Some(_) => {
            let message = format!("the route {:?} leads to the place of another store", route.name);
            Err(Error::new(ErrorKind::MixedStore, message))
        }
    }
}

fn mount(fs: &MountFs, of: &PlacedRoute, place: Arc<dyn Fs>) -> Result<()> {
    let directory = of.place.directory();
    fs.mount(&directory, place).map_err(|error| Error::io(error, "mount a place at", directory))
}

/// Whether a table or separated values are there, of whatever store.
fn has_files(place: &dyn Fs) -> IoResult<bool> {
    for directory in DIRECTORIES {
        match place.list(directory) {
            Err(error) if error.kind() == IoErrorKind::NotFound => {}
            listed if listed.as_ref().is_ok_and(Vec::is_empty) => {}
            listed => return listed.map(|_| true),
        }
    }
    Ok(false)
}

/// What a place says of itself; `None` if it says nothing.
fn read_certificate(place: &dyn Fs) -> Result<Option<FileHeader>> {
    let io = |error| Error::io(error, "read", PLACE);
    let file = match place.open(PLACE, OpenMode::Read) {
        Err(error) if error.kind() == IoErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io)?,
    };
    let mut bytes = [0; HEADER_BYTES];
    file.read_at(0, &mut bytes).map_err(io)?;
    match FileHeader::decode(&bytes) {
        Ok(header) if header.kind == FileKind::Place => Ok(Some(header)),
        Ok(_) => Err(Error::corrupt(PLACE, 4, "the file is of another kind")),
        Err(error) => Err(crate::codec::header_error(error, PLACE)),
    }
}

/// An error of a place, which says whose route leads there.
fn about(error: Error, route: &Route) -> Error {
    error.adding(&format!("; of the place of the route {:?}", route.name))
}

impl Store {
    /// Routes, with those that were retired and have files yet.
    pub fn routes(&self) -> Vec<PlacedRoute> {
        self.with_catalog(|catalog| catalog.routes.iter().cloned().collect())
    }

    /// The place of the route of this name.
    pub fn place(&self, name: &str) -> Option<Arc<dyn Fs>> {
        let of = self.routes().into_iter().find(|of| of.route.name == name)?;
        self.0.mounts.mounted(&of.place.directory()).cloned()
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
    /// this store had before. All others are made in the store's directory. Durable on return. What is there stays where it is until it is
    /// compacted; places of routes that are not among these are needed until then.
    ///
    /// A route of a name that there is keeps its place.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if two are of one name, place or level, or one is of a level that there is not; `AlreadyExists` if a
    /// place holds something else; `MixedStore` if it is another store's; `Locked`; those of [`Store::commit`]. Nothing is
    /// changed then, but that a place may have been begun.
    pub fn set_routes(&self, wanted: Vec<(Route, Arc<dyn Fs>)>) -> Result<()> {
        let _lease = self.0.context.enter()?;
        let _changes = self.0.changes.lock();
        let manifest = self.0.context.manifest()?;
        manifest.check()?;
        let refused = |why| Error::new(ErrorKind::InvalidArgument, why);
        wanted.iter().try_for_each(|(route, _)| route.check()).map_err(refused)?;
        let known = self.routes();
        let mut routes: Vec<PlacedRoute> = Vec::new();
        let mut begun = Vec::new();
        let mut next = next_place(&known, &self.0.mounts);
        for (route, place) in wanted {
            if let Some(old) = known.iter().find(|old| old.route.name == route.name) {
                let said = read_certificate(&*place).map_err(|error| about(error, &route))?;
                if said.map(|header| (header.database, header.file)) != Some((self.uuid(), old.uuid)) {
                    let message = format!("the route {:?} has another place already", route.name);
                    return Err(Error::new(ErrorKind::AlreadyExists, message));
                }
                routes.push(PlacedRoute { route, ..old.clone() });
                continue;
            }
            let uuid = self.begin_place(&*place).map_err(|error| about(error, &route))?;
            routes.push(PlacedRoute { place: PlaceId(next), uuid, route });
            begun.push((routes.len() - 1, place));
            next += 1;
        }
        let retired = known.into_iter().filter(|old| routes.iter().all(|new| new.place != old.place));
        let retired = retired.map(|old| PlacedRoute {
            route: Route { levels: None, has_blobs: false, name: old.route.name },
            ..old
        });
        let retired: Vec<PlacedRoute> = retired.collect();
        routes.extend(retired);
        let checked = Routes::new(routes.clone()).map_err(refused)?;
        let mut locks = Vec::new();
        for (at, place) in &begun {
            locks.extend(
                take_lock(&**place, LockMode::Exclusive).map_err(|error| about(error, &routes[*at].route))?,
            );
        }
        for (at, place) in begun {
            mount(&self.0.mounts, &routes[at], place)?;
        }
        manifest.commit(&[Change::Routes(checked)])?;
        self.0.context.tables.life.hold(locks);
        Ok(())
    }

    /// Makes a place this store's. Its uuid, and its directories, are durable on return.
    fn begin_place(&self, place: &dyn Fs) -> Result<Uuid> {
        let io = |name: &'static str| move |error| Error::io(error, "begin a place", name);
        match read_certificate(place) {
            Ok(Some(header)) if header.database == self.uuid() => {
                for directory in DIRECTORIES {
                    make_directory(place, directory).map_err(io(directory))?;
                }
                place.sync_dir("", SyncSite("route.begin")).map_err(io("."))?;
                return Ok(header.file);
            }
            Ok(Some(_)) => {
                return Err(Error::new(ErrorKind::MixedStore, "the place is another store's"));
            }
            Ok(None) => {}
            // Torn by a crash, if all is as a beginning leaves it.
            Err(error) if error.kind() != ErrorKind::Corruption => return Err(error),
            Err(_) => {}
        }
        let entries = place.list("").map_err(io("."))?;
        let ours = |name: &str| DIRECTORIES.contains(&name) || name == PLACE || name == LOCK;
        let other = entries.into_iter().find(|entry| !ours(&entry.name) && entry.name != "lost+found");
        if other.is_some() || has_files(place).map_err(io("."))? {
            let message = "the place is not empty, and not this store's: give an empty directory";
            return Err(Error::new(ErrorKind::AlreadyExists, message));
        }
        match place.remove_file(PLACE) {
            Err(error) if error.kind() != IoErrorKind::NotFound => return Err(io(PLACE)(error)),
            _ => {}
        }
        for directory in DIRECTORIES {
            make_directory(place, directory).map_err(io(directory))?;
        }
        let uuid = new_uuid(&*self.env().entropy)?;
        let header = FileHeader { kind: FileKind::Place, file: uuid, database: self.uuid() };
        write_certificate(place, PLACE, &header, SyncSite("route.place")).map_err(io(PLACE))?;
        place.sync_dir("", SyncSite("route.begin")).map_err(io("."))?;
        place.sync_parent(SyncSite("route.parent")).map_err(io(".."))?;
        Ok(uuid)
    }
}

/// A number that no place has, nor had since the store was opened.
fn next_place(known: &[PlacedRoute], mounts: &MountFs) -> u32 {
    let last = known.iter().map(|of| of.place.0).max().unwrap_or(0);
    let is_free = |number: &u32| mounts.mounted(&PlaceId(*number).directory()).is_none();
    (last + 1..).find(is_free).expect("places are few")
}

/// Makes a directory unless it is there.
fn make_directory(place: &dyn Fs, name: &str) -> IoResult<()> {
    match place.create_dir(name) {
        Err(error) if error.kind() == IoErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}
