//! The Unicode characters: `UnicodeData.txt` of the Unicode Character Database, embedded.
//!
//! A line is a code point or an end of a range of them: fields separated by `;`, the first the code point in
//! hex, the second its name. Origin and licence: `testdata/unicode`.

use std::borrow::Cow;

const FILE: &str = include_str!("../../testdata/unicode/UnicodeData.txt");

/// One line of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Point {
    /// Code point in hex, four to six digits.
    pub(super) code: &'static str,
    /// The rest of the line.
    pub(super) rest: &'static str,
    /// Its name, and only its: control characters have a label instead, as the standard writes it.
    pub(super) name: Cow<'static, str>,
}

/// All lines, in the order of the file.
pub(super) fn points() -> impl Iterator<Item = Point> {
    FILE.lines().map(|line| {
        let (code, rest) = line.split_once(';').expect("every line of the embedded file has 15 fields");
        let (name, _) = rest.split_once(';').expect("every line of the embedded file has 15 fields");
        let name = match name {
            "<control>" => Cow::Owned(format!("<control-{code}>")),
            name => Cow::Borrowed(name),
        };
        Point { code, rest, name }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_point_has_a_code_and_a_name_of_its_own() {
        let points: Vec<Point> = points().collect();
        let codes: HashSet<&str> = points.iter().map(|point| point.code).collect();
        let names: HashSet<&str> = points.iter().map(|point| &*point.name).collect();

        assert_eq!(points.len(), 34_924);
        assert_eq!(codes.len(), points.len());
        assert_eq!(names.len(), points.len());
        assert!(points.iter().all(|point| u32::from_str_radix(point.code, 16).is_ok()));
        assert!(names.contains("<control-0000>"));
    }

    #[test]
    fn a_point_is_a_line() {
        let a = points().find(|point| point.code == "0041").unwrap();
        assert_eq!(a.name, "LATIN CAPITAL LETTER A");
        assert_eq!(a.rest, "LATIN CAPITAL LETTER A;Lu;0;L;;;;;N;;;;0061;");
    }
}
