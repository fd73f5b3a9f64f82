//! `deb822`: a Debian package list such as `/var/lib/dpkg/status`.
//!
//! Stanzas are separated by blank lines (spaces and tabs do not count). The key of a record is the value of
//! its stanza's `Package` field, whatever the case of the field's name; the value is the stanza as it
//! stands, without the line end of its last line. Bytes need not be UTF-8. The syntax is that of Debian
//! Policy, chapter 5.1.

use super::{
    MAX_KEY_BYTES, Next, ReadError, Record, Records,
    lines::{Line, Lines, without_end},
    malformed,
};
use std::io::BufRead;

/// Reads one stanza after the other.
pub(super) struct Stanzas<R> {
    lines: Lines<R>,
    max_bytes: u64,
}

impl<R: BufRead> Stanzas<R> {
    /// Stanzas of at most `max_bytes` bytes.
    pub(super) fn new(lines: Lines<R>, max_bytes: u64) -> Stanzas<R> {
        Stanzas { lines, max_bytes }
    }
}

impl<R: BufRead> Records for Stanzas<R> {
    fn next(&mut self, record: &mut Record) -> Result<Next, ReadError> {
        let mut stanza: Option<Stanza> = None;
        while let Some(line) = self.lines.next()? {
            if !line.is_blank() {
                stanza.get_or_insert_with(|| Stanza::starting_at(line.number)).add(&line, self.max_bytes)?;
            } else if stanza.is_some() {
                break;
            }
        }
        let Some(stanza) = stanza else {
            return Ok(Next::End);
        };
        *record = stanza.finish()?;
        Ok(Next::Record)
    }

    fn read_bytes(&self) -> u64 {
        self.lines.read_bytes()
    }
}

/// The part of a stanza read so far.
struct Stanza {
    first_line: u64,
    bytes: Vec<u8>,
    package: Option<Vec<u8>>,
    /// What the last line belongs to.
    field: Option<Field>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Package,
    Other,
}

impl Stanza {
    fn starting_at(first_line: u64) -> Stanza {
        Stanza { first_line, bytes: Vec::new(), package: None, field: None }
    }

    fn add(&mut self, line: &Line<'_>, max_bytes: u64) -> Result<(), ReadError> {
        let bytes = self.bytes.len() as u64 + line.content().len() as u64;
        if bytes > max_bytes {
            let first = self.first_line;
            return Err(malformed(
                line.number,
                format!("the stanza that begins at line {first} is longer than {max_bytes} bytes"),
            ));
        }
        self.bytes.extend_from_slice(line.raw);

        let package = match line.content() {
            [b' ' | b'\t', ..] => self.continued(),
            content => self.begin_field(content),
        };
        package.map_err(|reason| malformed(line.number, reason))
    }

    fn continued(&self) -> Result<(), String> {
        match self.field {
            None => Err("a continuation line before the first field of a stanza".to_owned()),
            Some(Field::Package) => Err("the Package field goes over several lines".to_owned()),
            Some(Field::Other) => Ok(()),
        }
    }

    fn begin_field(&mut self, content: &[u8]) -> Result<(), String> {
        let Some(colon) = content.iter().position(|&byte| byte == b':') else {
            return Err("neither a field (no ':') nor a continuation line (no space)".to_owned());
        };
        let (name, value) = (&content[..colon], content[colon + 1..].trim_ascii());
        // Policy 5.1: printable ASCII without space and colon, first neither '#' nor '-'.
        if name.is_empty() || name.starts_with(b"#") || name.starts_with(b"-") {
            return Err("a field name is missing or begins with '#' or '-'".to_owned());
        }
        if !name.iter().all(u8::is_ascii_graphic) {
            return Err("a field name with spaces or other than printable ASCII characters".to_owned());
        }

        if !name.eq_ignore_ascii_case(b"Package") {
            self.field = Some(Field::Other);
            return Ok(());
        }
        if self.package.is_some() {
            return Err("a second Package field in one stanza".to_owned());
        }
        if value.is_empty() {
            return Err("an empty Package field".to_owned());
        }
        if value.len() > MAX_KEY_BYTES {
            return Err(format!("a package name of {} bytes, more than {MAX_KEY_BYTES}", value.len()));
        }
        self.field = Some(Field::Package);
        self.package = Some(value.to_vec());
        Ok(())
    }

    fn finish(mut self) -> Result<Record, ReadError> {
        let Some(key) = self.package else {
            return Err(malformed(self.first_line, "no Package field in the stanza that begins here"));
        };
        self.bytes.truncate(without_end(&self.bytes).len());
        Ok(Record { key, value: self.bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::read_all;

    fn read(input: impl AsRef<[u8]>) -> Result<Vec<(String, Vec<u8>)>, String> {
        read_bounded(input, 1 << 20)
    }

    fn read_bounded(input: impl AsRef<[u8]>, max_bytes: u64) -> Result<Vec<(String, Vec<u8>)>, String> {
        read_all(Stanzas::new(Lines::new(input.as_ref(), max_bytes), max_bytes))
    }

    fn entry(key: &str, value: impl AsRef<[u8]>) -> (String, Vec<u8>) {
        (key.to_owned(), value.as_ref().to_vec())
    }

    #[test]
    fn stanzas_are_kept_as_they_stand() {
        let input =
            "Package: a\nVersion: 1\nDescription: short\n long: text\n .\n\tmore\n\nPackage: b\nX:\n\n";
        let expected = [
            entry("a", "Package: a\nVersion: 1\nDescription: short\n long: text\n .\n\tmore"),
            entry("b", "Package: b\nX:"),
        ];
        assert_eq!(read(input).unwrap(), expected);
    }

    #[test]
    fn last_stanza_needs_no_blank_line_and_no_line_end() {
        let expected = [entry("a", "Package: a"), entry("b", "Package: b\nVersion: 2")];
        for end in ["", "\n", "\n\n", "\n\n\n"] {
            let input = format!("Package: a\n\nPackage: b\nVersion: 2{end}");
            assert_eq!(read(input).unwrap(), expected, "with {end:?} at the end");
        }
    }

    #[test]
    fn blank_lines_may_be_many_and_hold_spaces() {
        assert_eq!(read("\n\n \nPackage: a\n \t\n\n").unwrap(), [entry("a", "Package: a")]);
        assert_eq!(read("").unwrap(), []);
        assert_eq!(read("\n \n").unwrap(), []);
    }

    #[test]
    fn crlf_separates_and_stays_inside_values() {
        let input = "Package: a\r\nVersion: 1\r\n\r\nPackage: b\r\n";
        assert_eq!(read(input).unwrap(), [entry("a", "Package: a\r\nVersion: 1"), entry("b", "Package: b")]);
    }

    #[test]
    fn field_names_have_no_case_and_values_are_trimmed() {
        let input = "Version: 1\npACKAGE:\t a-b \n\nPackage:c\n";
        let expected = [entry("a-b", "Version: 1\npACKAGE:\t a-b "), entry("c", "Package:c")];
        assert_eq!(read(input).unwrap(), expected);
    }

    #[test]
    fn other_fields_that_begin_alike_do_not_count() {
        let error = read("Package-Type: deb\nPackages: x\n").unwrap_err();
        assert_eq!(error, "1: no Package field in the stanza that begins here");
    }

    #[test]
    fn nul_and_other_bytes_are_values() {
        let input = b"Package: a\nDescription: \xff\xfe\x00\n \x00 more\n\n";
        assert_eq!(read(input).unwrap(), [entry("a", &input[..input.len() - 2])]);
    }

    #[test]
    fn repeated_names_come_in_order() {
        let keys: Vec<_> = read("Package: a\nV: 1\n\nPackage: a\nV: 2\n").unwrap();
        assert_eq!(keys, [entry("a", "Package: a\nV: 1"), entry("a", "Package: a\nV: 2")]);
    }

    #[test]
    fn malformed_lines_are_named() {
        let table = [
            ("Version: 1\nX: y\n", "3: no Package field in the stanza that begins here"),
            (" text\n", "3: a continuation line before the first field of a stanza"),
            ("Package: b\nnonsense\n", "4: neither a field (no ':') nor a continuation line (no space)"),
            ("Package:\n", "3: an empty Package field"),
            ("Package: \t\r\n", "3: an empty Package field"),
            ("Package: b\n c\n", "4: the Package field goes over several lines"),
            ("Package: b\nX: y\npackage: c\n", "5: a second Package field in one stanza"),
            ("Package: b\n: y\n", "4: a field name is missing or begins with '#' or '-'"),
            ("# note: y\n", "3: a field name is missing or begins with '#' or '-'"),
            ("-----BEGIN: y\n", "3: a field name is missing or begins with '#' or '-'"),
            ("A b: y\n", "3: a field name with spaces or other than printable ASCII characters"),
            ("Ä: y\n", "3: a field name with spaces or other than printable ASCII characters"),
        ];
        for (stanza, expected) in table {
            assert_eq!(read(format!("Package: a\n\n{stanza}\nPackage: z\n")).unwrap_err(), expected);
        }
    }

    #[test]
    fn longest_stanza_passes_and_one_more_byte_does_not() {
        let input = "Package: a\nVersion: 123\n";
        assert_eq!(read_bounded(input, 23).unwrap().len(), 1);
        assert_eq!(
            read_bounded(input, 22).unwrap_err(),
            "2: the stanza that begins at line 1 is longer than 22 bytes"
        );
    }

    #[test]
    fn longest_name_passes_and_one_more_byte_does_not() {
        assert!(read(format!("Package: {}\n", "n".repeat(MAX_KEY_BYTES))).is_ok());
        let error = read(format!("Package: {}\n", "n".repeat(MAX_KEY_BYTES + 1))).unwrap_err();
        assert_eq!(error, "1: a package name of 65536 bytes, more than 65535");
    }
}
