//! Routes: which levels, and which separated values, lie in other places than the store's directory. Pure.

use super::levels::LEVELS;
use crate::{
    codec::{Corruption, TlvReader, TlvWriter, once},
    place::PlaceId,
    types::{Level, Uuid},
};
use alloc::{string::String, vec::Vec};
use core::ops::RangeInclusive;

/// Longest name of a route, in bytes.
pub const MAX_ROUTE_NAME_BYTES: usize = 4096;

/// Most routes of a store, retired ones included.
pub const MAX_ROUTES: usize = 64;

/// What a route takes from the store's directory: files that are made while it does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Name by which the place is found when the store is opened.
    pub name: String,
    /// Tables of these levels.
    pub levels: Option<RangeInclusive<u8>>,
    /// Files of separated values.
    pub has_blobs: bool,
}

impl Route {
    /// Whether no file is made there any more.
    pub fn is_retired(&self) -> bool {
        self.levels.is_none() && !self.has_blobs
    }

    /// Says whether it can be.
    ///
    /// # Errors
    ///
    /// Its name is empty or too long; a level does not exist.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.name.is_empty() || self.name.len() > MAX_ROUTE_NAME_BYTES {
            return Err("the name of a route is empty or longer than 4096 bytes");
        }
        match &self.levels {
            Some(levels) if levels.is_empty() => Err("a route is of no levels"),
            Some(levels) if usize::from(*levels.end()) >= LEVELS => Err("a route is of levels above 6"),
            _ => Ok(()),
        }
    }

    /// Says whether these can be beside each other. Pure.
    ///
    /// # Errors
    ///
    /// One cannot be; two are of one name, one level, or both of separated values; they are too many.
    pub fn check_all(routes: &[&Route]) -> Result<(), &'static str> {
        if routes.len() > MAX_ROUTES {
            return Err("there are more than 64 routes");
        }
        for (at, route) in routes.iter().enumerate() {
            route.check()?;
            routes[..at].iter().try_for_each(|other| route.check_beside(other))?;
        }
        Ok(())
    }

    fn check_beside(&self, other: &Route) -> Result<(), &'static str> {
        if other.name == self.name {
            return Err("two routes have one name");
        }
        if let (Some(a), Some(b)) = (&other.levels, &self.levels)
            && a.start() <= b.end()
            && b.start() <= a.end()
        {
            return Err("two routes are of one level");
        }
        if other.has_blobs && self.has_blobs {
            return Err("two routes are of separated values");
        }
        Ok(())
    }
}

/// A route as the manifest has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlacedRoute {
    /// Its place; never another route's, while the manifest has both.
    pub place: PlaceId,
    /// The uuid in the birth certificate of the place.
    pub uuid: Uuid,
    /// What is there.
    pub route: Route,
}

/// All routes. Of retired ones the places are needed as long as they have files.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Routes(Vec<PlacedRoute>);

const PLACE: u8 = 1;
const UUID: u8 = 2;
const NAME: u8 = 3;
const LEVELS_FROM_TO: u8 = 4;
const BLOBS: u8 = 5;

impl Routes {
    /// These.
    ///
    /// # Errors
    ///
    /// Two are of one place; those of [`Route::check_all`].
    pub fn new(routes: Vec<PlacedRoute>) -> Result<Routes, &'static str> {
        Route::check_all(&routes.iter().map(|placed| &placed.route).collect::<Vec<_>>())?;
        for (at, placed) in routes.iter().enumerate() {
            if routes[..at].iter().any(|other| other.place == placed.place || other.uuid == placed.uuid) {
                return Err("two routes are of one place");
            }
        }
        Ok(Routes(routes))
    }

    /// Every route, retired ones too.
    pub fn iter(&self) -> impl Iterator<Item = &PlacedRoute> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a file may lie there.
    pub fn has(&self, place: PlaceId) -> bool {
        place == PlaceId::MAIN || self.0.iter().any(|placed| placed.place == place)
    }

    /// Where new tables of a level are written.
    pub fn place_of(&self, level: Level) -> PlaceId {
        let holds = |placed: &&PlacedRoute| {
            placed.route.levels.as_ref().is_some_and(|levels| levels.contains(&level.0))
        };
        self.0.iter().find(holds).map_or(PlaceId::MAIN, |placed| placed.place)
    }

    /// Where new files of separated values are written.
    pub fn place_of_blobs(&self) -> PlaceId {
        self.0.iter().find(|placed| placed.route.has_blobs).map_or(PlaceId::MAIN, |placed| placed.place)
    }

    /// Encodes them as fields; [`Routes::decode`] is the inverse.
    ///
    /// Each route is one field of tag 1, fields itself:
    ///
    /// | tag | field          | tag | field                        |
    /// |-----|----------------|-----|------------------------------|
    /// | 1   | place          | 4   | first and last level, if any |
    /// | 2   | uuid, 16 bytes | 5   | 1 if separated values too    |
    /// | 3   | name           |     |                              |
    pub fn encode(&self) -> Vec<u8> {
        let mut all = TlvWriter::new();
        for PlacedRoute { place, uuid, route } in &self.0 {
            let mut fields = TlvWriter::new();
            fields.u64(PLACE, u64::from(place.0));
            fields.bytes(UUID, &uuid.0);
            fields.bytes(NAME, route.name.as_bytes());
            if let Some(levels) = &route.levels {
                fields.bytes(LEVELS_FROM_TO, &[*levels.start(), *levels.end()]);
            }
            if route.has_blobs {
                fields.u64(BLOBS, 1);
            }
            all.bytes(1, &fields.finish());
        }
        all.finish()
    }

    /// Decodes what an edit says of routes.
    ///
    /// # Errors
    ///
    /// A field is missing or malformed; the routes cannot be.
    pub fn decode(bytes: &[u8]) -> Result<Routes, Corruption> {
        let mut all = TlvReader::new(bytes);
        let mut routes = Vec::new();
        while let Some((tag, value)) = all.next_field()? {
            match tag {
                1 if routes.len() == MAX_ROUTES => return Err(Corruption("there are more than 64 routes")),
                1 => routes.push(decode_one(value)?),
                unknown => TlvReader::unknown(unknown)?,
            }
        }
        Routes::new(routes).map_err(Corruption)
    }
}

fn decode_one(bytes: &[u8]) -> Result<PlacedRoute, Corruption> {
    let (mut place, mut uuid, mut name, mut levels, mut blobs) = (None, None, None, None, None);
    let malformed = |_| Corruption("a field of a route has another length than its kind");
    let mut fields = TlvReader::new(bytes);
    while let Some((tag, value)) = fields.next_field()? {
        match tag {
            PLACE => once(&mut place, PlaceId::decode(value)?)?,
            UUID => once(&mut uuid, Uuid(value.try_into().map_err(malformed)?))?,
            NAME => {
                let text = core::str::from_utf8(value).map_err(|_| Corruption("a name is not UTF-8"))?;
                once(&mut name, String::from(text))?;
            }
            LEVELS_FROM_TO => {
                let [from, to] = value.try_into().map_err(malformed)?;
                once(&mut levels, from..=to)?;
            }
            BLOBS => match TlvReader::as_u64(value)? {
                1 => once(&mut blobs, ())?,
                _ => {
                    return Err(Corruption("a route is of separated values, and says another number than 1"));
                }
            },
            unknown => TlvReader::unknown(unknown)?,
        }
    }
    let (Some(place), Some(uuid), Some(name)) = (place, uuid, name) else {
        return Err(Corruption("an edit does not say all of a route"));
    };
    Ok(PlacedRoute { place, uuid, route: Route { name, levels, has_blobs: blobs.is_some() } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn route(place: u32, levels: Option<RangeInclusive<u8>>, has_blobs: bool) -> PlacedRoute {
        let name = alloc::format!("place {place}");
        let route = Route { name, levels, has_blobs };
        PlacedRoute { place: PlaceId(place), uuid: Uuid([place as u8; 16]), route }
    }

    #[test]
    fn levels_and_separated_values_go_where_their_route_says() {
        let routes = vec![route(1, Some(0..=1), false), route(2, Some(5..=6), true), route(3, None, false)];
        let routes = Routes::new(routes).unwrap();

        let places: Vec<u32> = (0..7).map(|level| routes.place_of(Level(level)).0).collect();
        assert_eq!(places, [1, 1, 0, 0, 0, 2, 2]);
        assert_eq!(routes.place_of_blobs(), PlaceId(2));
        assert_eq!(Routes::default().place_of_blobs(), PlaceId::MAIN);
        assert!(routes.has(PlaceId(3)) && routes.has(PlaceId::MAIN) && !routes.has(PlaceId(4)));
    }

    #[test]
    fn what_is_decoded_is_what_was_encoded() {
        let routes = Routes::new(vec![route(1, Some(0..=1), false), route(7, None, true)]).unwrap();
        let bytes = routes.encode();
        assert_eq!(Routes::decode(&bytes).as_ref(), Ok(&routes));
        for cut in 0..bytes.len() {
            assert_ne!(
                Routes::decode(&bytes[..cut]).as_ref(),
                Ok(&routes),
                "without what follows byte {cut}"
            );
        }
    }

    #[test]
    fn routes_that_contradict_each_other_are_refused() {
        let refused = |routes: Vec<PlacedRoute>| Routes::new(routes).unwrap_err();
        let named = |place: u32, name: &str| PlacedRoute {
            route: Route { name: name.into(), ..route(place, Some(0..=0), false).route },
            ..route(place, None, false)
        };

        assert!(refused(vec![route(1, Some(0..=2), false), route(2, Some(2..=3), false)]).contains("level"));
        assert!(refused(vec![route(1, None, true), route(2, None, true)]).contains("separated"));
        assert!(refused(vec![named(1, "a"), named(2, "a")]).contains("name"));
        assert!(
            refused(vec![named(1, "a"), PlacedRoute { uuid: Uuid([1; 16]), ..route(2, Some(1..=1), false) }])
                .contains("place")
        );
        assert!(refused(vec![route(1, Some(6..=7), false)]).contains("above 6"));
        #[expect(clippy::reversed_empty_ranges, reason = "it is refused")]
        let none = route(1, Some(3..=2), false);
        assert!(refused(vec![none]).contains("no levels"));
        assert!(refused(vec![named(1, "")]).contains("empty"));
    }
}
