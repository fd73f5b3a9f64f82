//! A table before it has a shape: the terminal and Markdown draw the same ones.

use std::ops::Range;

/// Rows of equally many cells; the first column names the row.
pub struct Grid {
    pub title: String,
    /// One line on how to read it.
    pub note: String,
    pub header: Vec<Entry>,
    pub rows: Vec<Vec<Entry>>,
}

/// Widest table of a terminal.
const TEXT_WIDTH: usize = 150;
const NOTE_WIDTH: usize = 110;

/// A text and the letters of its footnotes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    pub text: String,
    pub marks: String,
}

impl Grid {
    /// Columns aligned: the first to the left, the others to the right. Columns that do not fit in
    /// [`TEXT_WIDTH`] follow in blocks of their own, with the first column again.
    pub fn to_text(&self) -> String {
        let lines: Vec<Vec<String>> = std::iter::once(&self.header)
            .chain(&self.rows)
            .map(|row| row.iter().map(Entry::to_text).collect())
            .collect();
        let width = |column: usize| {
            lines
                .iter()
                .filter_map(|line| line.get(column))
                .map(|text| text.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let mut text = format!("{}\n", self.title);
        for line in wrapped(&self.note, NOTE_WIDTH) {
            text += &format!("{line}\n");
        }
        for (block, columns) in blocks(&widths).into_iter().enumerate() {
            if block > 0 {
                text.push('\n');
            }
            for (index, line) in lines.iter().enumerate() {
                let mut drawn = format!("{:<1$}", line[0], widths[0]);
                for column in columns.clone() {
                    drawn += &format!("  {:>1$}", line[column], widths[column]);
                }
                text += &format!("{}\n", drawn.trim_end());
                if index == 0 {
                    text += &format!("{}\n", "-".repeat(drawn.chars().count()));
                }
            }
        }
        text
    }

    /// A heading of `level`, the note, and a table.
    pub fn to_markdown(&self, level: usize) -> String {
        let mut text = format!("{} {}\n\n", "#".repeat(level), escaped(&self.title));
        if !self.note.is_empty() {
            text += &format!("{}\n\n", escaped(&self.note));
        }
        let line = |row: &[Entry]| {
            let cells: Vec<String> = row.iter().map(Entry::to_markdown).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        text += &line(&self.header);
        text += &format!("|---{}|\n", "|---:".repeat(self.header.len().saturating_sub(1)));
        for row in &self.rows {
            text += &line(row);
        }
        text
    }
}

impl Entry {
    pub fn new(text: impl Into<String>) -> Entry {
        Entry { text: text.into(), marks: String::new() }
    }

    fn to_text(&self) -> String {
        match self.marks.as_str() {
            "" => self.text.clone(),
            marks => format!("{} [{marks}]", self.text),
        }
    }

    fn to_markdown(&self) -> String {
        match self.marks.as_str() {
            "" => escaped(&self.text),
            marks => format!("{} <sup>{marks}</sup>", escaped(&self.text)),
        }
    }
}

/// The columns after the first, in runs that fit in [`TEXT_WIDTH`] beside it; at least one in each.
fn blocks(widths: &[usize]) -> Vec<Range<usize>> {
    let first = widths.first().copied().unwrap_or(0);
    let mut blocks: Vec<Range<usize>> = Vec::new();
    let mut left = 0;
    for (column, width) in widths.iter().enumerate().skip(1) {
        match blocks.last_mut() {
            Some(block) if width + 2 <= left => {
                block.end = column + 1;
                left -= width + 2;
            }
            _ => {
                blocks.push(column..column + 1);
                left = TEXT_WIDTH.saturating_sub(first + width + 2);
            }
        }
    }
    blocks
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}

/// Text that Markdown shows as it is, also inside a table.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\r' => escaped.push(' '),
            '<' => escaped += "&lt;",
            '&' => escaped += "&amp;",
            '\\' | '|' | '*' | '_' | '`' | '[' | ']' | '~' => {
                escaped.push('\\');
                escaped.push(character);
            }
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        Grid {
            title: "Rates".into(),
            note: "per second".into(),
            header: ["workload", "a"].map(Entry::new).into(),
            rows: vec![
                vec![Entry::new("fill_seq"), Entry { text: "1.2M".into(), marks: "ce".into() }],
                vec![Entry::new("x"), Entry::new("45k")],
            ],
        }
    }

    #[test]
    fn text_is_aligned() {
        let expected = "\
Rates
per second
workload          a
-------------------
fill_seq  1.2M [ce]
x               45k
";
        assert_eq!(grid().to_text(), expected);
    }

    #[test]
    fn columns_that_do_not_fit_follow_in_another_block() {
        let mut grid = grid();
        grid.header.push(Entry::new("w".repeat(TEXT_WIDTH - 20)));
        grid.rows[0].push(Entry::new("1"));
        grid.rows[1].push(Entry::new("2"));

        let text = grid.to_text();

        let blocks: Vec<&str> = text.split("\n\n").collect();
        assert_eq!(blocks.len(), 2, "{text}");
        assert!(blocks[0].contains("1.2M [ce]") && !blocks[0].contains("www"), "{text}");
        assert!(blocks[1].starts_with("workload  ") && blocks[1].contains("fill_seq"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= TEXT_WIDTH), "{text}");
    }

    #[test]
    fn notes_are_wrapped_at_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert!(wrapped("", 7).is_empty());
    }

    #[test]
    fn markdown_escapes_and_raises_marks() {
        let expected = "\
## Rates

per second

| workload | a |
|---|---:|
| fill\\_seq | 1.2M <sup>ce</sup> |
| x | 45k |
";
        assert_eq!(grid().to_markdown(2), expected);
        assert_eq!(escaped("a|b <c>\n&"), "a\\|b &lt;c> &amp;");
    }
}
