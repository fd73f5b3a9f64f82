//! What a file name may look like: the one place that checks. The rules stand at the top of the crate.

use crate::error::{IoErrorKind, IoResult};

/// A valid name of a file or directory below a backend's root; or the root itself, from [`Name::parse_dir`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Name<'a>(&'a str);

impl<'a> Name<'a> {
    /// A name below the root.
    ///
    /// # Errors
    ///
    /// [`IoErrorKind::InvalidName`].
    pub(crate) fn parse(name: &'a str) -> IoResult<Name<'a>> {
        if name.split('/').all(is_part) { Ok(Name(name)) } else { Err(IoErrorKind::InvalidName.into()) }
    }

    /// A name below the root, or `""`, the root.
    ///
    /// # Errors
    ///
    /// [`IoErrorKind::InvalidName`].
    pub(crate) fn parse_dir(name: &'a str) -> IoResult<Name<'a>> {
        if name.is_empty() { Ok(Name(name)) } else { Name::parse(name) }
    }

    /// The whole name; `""` for the root.
    pub(crate) fn as_str(self) -> &'a str {
        self.0
    }

    /// The directory that holds the entry; the root is its own parent.
    pub(crate) fn parent(self) -> Name<'a> {
        Name(self.0.rsplit_once('/').map_or("", |(parent, _)| parent))
    }

    /// The parts from the root down; none for the root.
    #[cfg(feature = "std")]
    pub(crate) fn parts(self) -> impl Iterator<Item = &'a str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }

    /// The directories above the entry from the top down, without the root.
    pub(crate) fn ancestors(self) -> impl Iterator<Item = &'a str> {
        self.0.match_indices('/').map(|(end, _)| &self.0[..end])
    }
}

/// Whether `part` may stand between two `/` of a name.
pub(crate) fn is_part(part: &str) -> bool {
    !matches!(part, "" | "." | "..") && !part.contains(['/', '\\', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn names_inside_the_root_are_accepted() {
        for name in ["a", "LOCK", "tables/000017.table", "a/b/c", "..a", "a..", "...", "ü/ß", "a b"] {
            assert_eq!(Name::parse(name).map(Name::as_str), Ok(name));
        }
    }

    #[test]
    fn names_that_leave_the_root_or_mean_different_things_elsewhere_are_refused() {
        for name in ["", "/", "/a", "a/", "a//b", ".", "..", "./a", "a/..", "a/../b", "a\0", "a\\b", "C:\\a"]
        {
            assert_eq!(Name::parse(name), Err(IoErrorKind::InvalidName.into()), "{name:?}");
        }
    }

    #[test]
    fn only_a_directory_may_be_the_root() {
        assert_eq!(Name::parse_dir("").map(Name::as_str), Ok(""));
        assert_eq!(Name::parse_dir("a/"), Err(IoErrorKind::InvalidName.into()));
    }

    #[test]
    fn parent_and_ancestors_go_up_to_the_root() {
        let name = Name::parse("a/b/c").expect("valid");

        assert_eq!(name.parent().as_str(), "a/b");
        assert_eq!(name.parent().parent().parent().as_str(), "");
        assert_eq!(name.ancestors().collect::<Vec<_>>(), ["a", "a/b"]);
    }
}
