//! What commands print: tables for people, one JSON object per line for programs.
//!
//! Nothing here knows commands, or databases beyond how far work on one came. No colours.

use crate::text;
use isopach::Progress;
use serde_json::{Map, Value};
use std::{
    io::{self, IsTerminal, Stderr, Write},
    time::{Duration, Instant},
};

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Output {
    /// Columns for people. The default on a terminal.
    Table,
    /// One JSON object per line. The default elsewhere.
    Jsonl,
}

/// Where a command prints, and how.
pub(crate) struct Console<'a> {
    out: Box<dyn Write + 'a>,
    asked: Option<Output>,
    stdout_is_terminal: bool,
    stderr: Stderr,
}

impl<'a> Console<'a> {
    /// `asked` is what the user asked for.
    pub(crate) fn new(
        out: impl Write + 'a,
        asked: Option<Output>,
        stdout_is_terminal: bool,
        stderr: Stderr,
    ) -> Console<'a> {
        Console { out: Box::new(out), asked, stdout_is_terminal, stderr }
    }

    /// Standard output, buffered.
    pub(crate) fn out(&mut self) -> &mut dyn Write {
        &mut *self.out
    }

    /// Standard error, for progress.
    pub(crate) fn stderr(&self) -> &Stderr {
        &self.stderr
    }

    /// What the user asked for, if anything.
    pub(crate) fn asked(&self) -> Option<Output> {
        self.asked
    }

    /// How results are printed: as asked, else by where they go.
    pub(crate) fn output(&self) -> Output {
        match (self.asked, self.stdout_is_terminal) {
            (Some(output), _) => output,
            (None, true) => Output::Table,
            (None, false) => Output::Jsonl,
        }
    }

    /// Prints one line of JSON: `fields`, an object, with `"schema": "isopach.<command>/1"`.
    pub(crate) fn object(&mut self, command: &str, fields: Value) -> io::Result<()> {
        let Value::Object(fields) = fields else { unreachable!("commands print objects only") };
        let mut object = Map::new();
        object.insert("schema".to_owned(), format!("isopach.{command}/1").into());
        object.extend(fields);
        writeln!(self.out, "{}", Value::Object(object))
    }

    /// Prints a table.
    pub(crate) fn table(&mut self, table: &Table) -> io::Result<()> {
        self.out.write_all(table.render().as_bytes())
    }
}

/// How often a [`StatusLine`] is written.
const STATUS_EVERY: Duration = Duration::from_millis(200);

/// One line on a terminal that is written over and over; nothing elsewhere.
pub(crate) struct StatusLine {
    is_shown: bool,
    last: Option<Instant>,
}

impl StatusLine {
    /// On standard error, until it is dropped.
    pub(crate) fn new(console: &Console<'_>) -> StatusLine {
        StatusLine { is_shown: console.stderr().is_terminal(), last: None }
    }

    /// Shows how much of something is done.
    pub(crate) fn show_progress(&mut self, progress: &Progress) {
        self.show(|| format!("{} of {}", text::size(progress.done), text::size(progress.total)));
    }

    /// Writes it, if it is time.
    pub(crate) fn show(&mut self, line: impl FnOnce() -> String) {
        if !self.is_shown || self.last.is_some_and(|last| last.elapsed() < STATUS_EVERY) {
            return;
        }
        self.last = Some(Instant::now());
        // What cannot be shown is no reason to fail.
        let _ = write!(io::stderr(), "\r\x1b[K{}", line());
    }

    /// Removes what was written.
    pub(crate) fn clear(&mut self) {
        if self.last.take().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Which side of its column a cell keeps to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows under headings, in columns as wide as their widest cell.
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Table {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    ///
    /// # Panics
    ///
    /// If it has another number of cells than there are columns.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        assert_eq!(N, self.columns.len(), "a row has a cell for every column");
        self.rows.push(cells.into());
    }

    fn render(&self) -> String {
        let headings: Vec<String> = self.columns.iter().map(|(heading, _)| heading.to_uppercase()).collect();
        let mut widths: Vec<usize> = headings.iter().map(|cell| cell.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }

        let mut text = String::new();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let mut line = String::new();
            for ((cell, &width), (_, align)) in row.iter().zip(&widths).zip(&self.columns) {
                match align {
                    Align::Left => line.push_str(&format!("{cell:<width$}  ")),
                    Align::Right => line.push_str(&format!("{cell:>width$}  ")),
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn console(asked: Option<Output>, stdout_is_terminal: bool) -> Console<'static> {
        Console::new(io::sink(), asked, stdout_is_terminal, io::stderr())
    }

    #[test]
    fn output_follows_the_terminal_unless_asked() {
        assert_eq!(console(None, true).output(), Output::Table);
        assert_eq!(console(None, false).output(), Output::Jsonl);
        assert_eq!(console(Some(Output::Jsonl), true).output(), Output::Jsonl);
        assert_eq!(console(Some(Output::Table), false).output(), Output::Table);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&[("keyspace", Align::Left), ("bytes", Align::Right)]);
        table.row(["é".to_owned(), "1234567".to_owned()]);
        table.row(["packages-and-more".to_owned(), "8".to_owned()]);

        let expected = "KEYSPACE             BYTES\n\
                        é                  1234567\n\
                        packages-and-more        8\n";
        assert_eq!(table.render(), expected);
    }

    #[test]
    fn objects_name_their_schema() {
        let mut bytes = Vec::new();
        let mut console = Console::new(&mut bytes, None, false, io::stderr());

        console.object("count", json!({ "count": 3 })).unwrap();
        drop(console);

        let line: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(line, json!({ "schema": "isopach.count/1", "count": 3 }));
        assert!(bytes.ends_with(b"\n"));
    }
}
