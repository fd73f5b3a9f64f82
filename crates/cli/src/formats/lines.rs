//! Lines of a file, of bounded length, counted from 1.

use super::{ReadError, malformed};
use std::io::{BufRead, Read};

/// Reads lines into one buffer that is used again for each.
pub(super) struct Lines<R> {
    input: R,
    /// Longest line, without its end.
    max_bytes: u64,
    line: Vec<u8>,
    number: u64,
    read_bytes: u64,
}

/// One line.
pub(super) struct Line<'a> {
    /// Counted from 1.
    pub(super) number: u64,
    /// With its end: `\n`, `\r\n`, or nothing at the end of the file.
    pub(super) raw: &'a [u8],
}

impl<'a> Line<'a> {
    /// Without its end.
    pub(super) fn content(&self) -> &'a [u8] {
        without_end(self.raw)
    }

    /// Whether it holds nothing but spaces and tabs.
    pub(super) fn is_blank(&self) -> bool {
        self.content().iter().all(|byte| matches!(byte, b' ' | b'\t'))
    }
}

impl<R: BufRead> Lines<R> {
    /// Lines of at most `max_bytes` bytes without their end.
    pub(super) fn new(input: R, max_bytes: u64) -> Lines<R> {
        Lines { input, max_bytes, line: Vec::new(), number: 0, read_bytes: 0 }
    }

    /// The next line; `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<Line<'_>>, ReadError> {
        self.line.clear();
        // Two more than a line may have: its end is `\r\n` at most. A longer line shows by what is left.
        let mut bounded = self.input.by_ref().take(self.max_bytes.saturating_add(2));
        let read = bounded.read_until(b'\n', &mut self.line).map_err(ReadError::Io)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.read_bytes += read as u64;

        let line = Line { number: self.number, raw: &self.line };
        if line.content().len() as u64 > self.max_bytes {
            return Err(malformed(line.number, format!("longer than {} bytes", self.max_bytes)));
        }
        Ok(Some(line))
    }

    /// Bytes read so far.
    pub(super) fn read_bytes(&self) -> u64 {
        self.read_bytes
    }
}

/// `bytes` without a `\n` or `\r\n` at its end.
pub(super) fn without_end(bytes: &[u8]) -> &[u8] {
    match bytes {
        [content @ .., b'\r', b'\n'] | [content @ .., b'\n'] => content,
        content => content,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::Place;

    fn contents(input: &[u8], max_bytes: u64) -> Result<Vec<Vec<u8>>, String> {
        let mut lines = Lines::new(input, max_bytes);
        let mut all = Vec::new();
        loop {
            match lines.next() {
                Ok(Some(line)) => all.push(line.content().to_vec()),
                Ok(None) => return Ok(all),
                Err(ReadError::Malformed { at: Place::Line(line), reason }) => {
                    return Err(format!("{line}: {reason}"));
                }
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    #[test]
    fn line_ends_are_taken_off() {
        assert_eq!(contents(b"a\nb\r\n\n\rc\r", 9).unwrap(), [&b"a"[..], b"b", b"", b"\rc\r"]);
        assert_eq!(contents(b"", 9).unwrap(), [&b""[..]; 0]);
    }

    #[test]
    fn longest_line_passes_and_one_more_byte_does_not() {
        for end in ["", "\n", "\r\n"] {
            assert_eq!(contents(format!("x\n1234{end}").as_bytes(), 4).unwrap().len(), 2);
            assert_eq!(
                contents(format!("x\n12345{end}").as_bytes(), 4).unwrap_err(),
                "2: longer than 4 bytes"
            );
        }
    }

    #[test]
    fn bytes_are_counted_with_line_ends() {
        let mut lines = Lines::new(&b"a\r\nbc"[..], 9);
        while lines.next().unwrap().is_some() {}
        assert_eq!(lines.read_bytes(), 5);
    }
}
