//! Routes: levels and separated values on other disks, or in other backends.

use crate::{
    error::{Error, ErrorKind, Result},
    state::State,
};
use isopach_engine::{
    store::{FindPlaces, Store},
    version,
};
use isopach_env::{Fs, IoErrorKind, OsFs};
use std::{
    fmt,
    ops::RangeInclusive,
    path::{self, Path, PathBuf},
    sync::Arc,
};

/// A place for the tables of some levels, or for separated values, of all keyspaces: a directory on another disk, or
/// another backend.
///
/// Level 0 is what was flushed last, level 6 the largest and oldest. Tables of bulk loads are written for the level where
/// they will most likely be. A place belongs to one database: it is an empty
/// directory when it is first given. Files that are made from then on go there; those that are elsewhere stay until
/// compactions write them anew. The log, the manifest and dictionaries never leave the database's directory.
///
/// A copy of a database that was not made by a checkpoint shares its places, and cannot be used beside it.
///
/// ```no_run
/// # use isopach::{Db, Route};
/// let db = Db::builder("db").route(Route::path(5..=6, "/mnt/slow/db").and_blobs()).open()?;
/// # Ok::<(), isopach::Error>(())
/// ```
#[derive(Clone)]
pub struct Route {
    levels: Option<RangeInclusive<u8>>,
    has_blobs: bool,
    target: Target,
}

#[derive(Clone)]
enum Target {
    Path(PathBuf),
    Fs(String, Arc<dyn Fs>),
}

impl Route {
    /// Tables of these levels, 0 to 6, in a directory of the operating system, which is made if its parent is there. The
    /// absolute path is stored: later openings need not name it. Where the directory was moved, an opening that is given
    /// its new path finds it.
    pub fn path(levels: RangeInclusive<u8>, path: impl AsRef<Path>) -> Route {
        Route { levels: Some(levels), has_blobs: false, target: Target::Path(path.as_ref().into()) }
    }

    /// Tables of these levels in another backend, found again by `name`: each opening has to be given it.
    pub fn fs(levels: RangeInclusive<u8>, name: &str, fs: Arc<dyn Fs>) -> Route {
        Route { levels: Some(levels), has_blobs: false, target: Target::Fs(name.into(), fs) }
    }

    /// Separated values only, as [`Route::path`].
    pub fn blobs_in(path: impl AsRef<Path>) -> Route {
        Route { levels: None, has_blobs: true, target: Target::Path(path.as_ref().into()) }
    }

    /// Separated values only, as [`Route::fs`].
    pub fn blobs_in_fs(name: &str, fs: Arc<dyn Fs>) -> Route {
        Route { levels: None, has_blobs: true, target: Target::Fs(name.into(), fs) }
    }

    /// And separated values.
    #[must_use]
    pub fn and_blobs(self) -> Route {
        Route { has_blobs: true, ..self }
    }

    /// What is stored.
    fn stored(&self) -> Result<version::Route> {
        let (levels, has_blobs) = (self.levels.clone(), self.has_blobs);
        Ok(version::Route { name: self.target.name()?, levels, has_blobs })
    }
}

impl Target {
    /// The name under which it is stored: an absolute path, or none.
    fn name(&self) -> Result<String> {
        let invalid = |message: String| Error::new(ErrorKind::InvalidArgument, message);
        match self {
            Target::Path(path) => {
                let absolute = path::absolute(path);
                let absolute =
                    absolute.map_err(|error| invalid(format!("no route leads to {path:?}: {error}")))?;
                let plain: PathBuf = absolute.components().collect(); // Without a slash at the end.
                let name = plain.to_str().map(String::from);
                name.ok_or_else(|| invalid(format!("the path of a route is not UTF-8: {path:?}")))
            }
            Target::Fs(name, _) if Path::new(name).is_absolute() => {
                Err(invalid(format!("the name of a backend looks like a path: {name:?}")))
            }
            Target::Fs(name, _) => Ok(name.clone()),
        }
    }

    /// The backend, if it is there.
    fn existing(&self) -> Option<Arc<dyn Fs>> {
        match self {
            Target::Fs(_, fs) => Some(Arc::clone(fs)),
            Target::Path(path) => Some(Arc::new(OsFs::new(path).ok()?)),
        }
    }

    /// The backend; a directory is made if it is missing.
    fn begin(&self) -> Result<Arc<dyn Fs>> {
        let path = match self {
            Target::Fs(_, fs) => return Ok(Arc::clone(fs)),
            Target::Path(path) => path,
        };
        let made = match OsFs::create(path) {
            Err(error) if error.kind() == IoErrorKind::AlreadyExists => OsFs::new(path),
            made => made,
        };
        let fs = made.map_err(|error| {
            let kind = match error.kind() {
                IoErrorKind::NotFound => ErrorKind::NotFound,
                IoErrorKind::OutOfSpace => ErrorKind::OutOfSpace,
                _ => ErrorKind::Io,
            };
            Error::new(kind, format!("cannot use {} as a place of files: {error}", path.display()))
        })?;
        Ok(Arc::new(fs))
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Route { levels, has_blobs, target } = self;
        let mut shown = f.debug_struct("Route");
        shown.field("levels", levels).field("has_blobs", has_blobs);
        match target {
            Target::Path(path) => shown.field("path", path).finish(),
            Target::Fs(name, _) => shown.field("name", name).finish_non_exhaustive(),
        }
    }
}

/// A route as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct RouteInfo {
    /// The absolute path of a directory, or the name of a backend.
    pub name: String,
    /// The number of its place: errors and reports name files there from `places/<number>` on.
    pub place: u32,
    /// Tables of these levels are made there.
    pub levels: Option<RangeInclusive<u8>>,
    /// Files of separated values are made there.
    pub has_blobs: bool,
}

impl RouteInfo {
    /// Whether nothing is made there any more. The place is needed as long as files are there.
    pub fn is_retired(&self) -> bool {
        self.levels.is_none() && !self.has_blobs
    }
}

/// Routes of a store.
pub(crate) fn routes_of(store: &Store) -> Vec<RouteInfo> {
    let info = |of: version::PlacedRoute| {
        let version::Route { name, levels, has_blobs } = of.route;
        RouteInfo { name, place: of.place.0, levels, has_blobs }
    };
    store.routes().into_iter().map(info).collect()
}

/// Says whether the routes that are given to an opening can be beside each other.
pub(crate) fn check_given(given: &[Route]) -> Result<()> {
    let stored = given.iter().map(Route::stored).collect::<Result<Vec<_>>>()?;
    let checked = version::Route::check_all(&stored.iter().collect::<Vec<_>>());
    checked.map_err(|why| Error::new(ErrorKind::InvalidArgument, why))
}

/// Finds places of stored routes: backends that are given by their name, directories of the operating system by their
/// path, and what is given under another name.
pub(crate) fn find_places(given: &[Route]) -> FindPlaces {
    let given: Vec<Target> = given.iter().map(|route| route.target.clone()).collect();
    let others = given.iter().filter_map(Target::existing).collect();
    let by_name = FindPlaces::by(move |wanted| {
        let backend = given.iter().find_map(|target| match target {
            Target::Fs(name, fs) if name == wanted => Some(Arc::clone(fs)),
            _ => None,
        });
        match backend {
            None if Path::new(wanted).is_absolute() => Ok(Some(Arc::new(OsFs::new(wanted)?))),
            found => Ok(found),
        }
    });
    by_name.or_among(others)
}

/// Has the routes that are given to an opening put beside those that are stored, or in the place of those of their names.
pub(crate) fn add_routes(store: &Store, given: &[Route]) -> Result<()> {
    let named = given.iter().map(|route| Ok((route.stored()?, route))).collect::<Result<Vec<_>>>()?;
    let stored: Vec<version::Route> = store.routes().into_iter().map(|of| of.route).collect();
    if named.iter().all(|(route, _)| stored.contains(route)) {
        return Ok(());
    }
    let mut given = Vec::new();
    let mut replaced = Vec::new();
    for (stored, route) in named {
        let place = begin(store, &route.target)?;
        replaced.extend(store.route_to(&*place)?.map(|placed| placed.route.name)); // Under another name, perhaps.
        replaced.push(stored.name.clone());
        given.push((stored, place));
    }
    let kept = stored.into_iter().filter(|route| !route.is_retired() && !replaced.contains(&route.name));
    let kept = kept.map(|route| {
        let place = store.place(&route.name).expect("places of stored routes are open");
        (route, place)
    });
    Ok(store.set_routes(kept.chain(given).collect())?)
}

/// The backend of a place that lies outside of the database.
fn begin(store: &Store, target: &Target) -> Result<Arc<dyn Fs>> {
    let own = system_path(&*store.env().fs, "LOCK");
    let is_inside =
        |path: &Path| own.as_deref().and_then(Path::parent).is_some_and(|own| path.starts_with(own));
    if let Target::Path(path) = target
        && let Some(parent) = path.parent().and_then(|parent| parent.canonicalize().ok())
        && is_inside(&parent)
    {
        return Err(inside(path));
    }
    let place = target.begin()?;
    match system_path(&*place, "PLACE") {
        Some(path) if is_inside(&path) => Err(inside(&path)),
        _ => Ok(place),
    }
}

fn inside(path: &Path) -> Error {
    let message = format!("{} cannot be a place of files: it lies in the database", path.display());
    Error::new(ErrorKind::InvalidArgument, message)
}

/// Where a file of the operating system lies; `None` of one in another backend.
pub(crate) fn system_path(fs: &dyn Fs, name: &str) -> Option<PathBuf> {
    let (fs, name) = fs.locate::<OsFs>(name).ok()?;
    Some(fs.root().join(name))
}

/// See [`Db::set_routes`](crate::Db::set_routes).
pub(crate) fn set_routes(state: &State, routes: impl IntoIterator<Item = Route>) -> Result<()> {
    state.check_open()?;
    let routes: Vec<Route> = routes.into_iter().collect();
    check_given(&routes)?;
    let wanted: Result<Vec<_>> =
        routes.iter().map(|route| Ok((route.stored()?, begin(&state.store, &route.target)?))).collect();
    state.store.set_routes(wanted?).map_err(|error| state.locate(error))
}
