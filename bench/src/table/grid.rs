//! A table before it has a shape: the terminal and Markdown draw the same ones.

/// Rows of equally many cells; the first column names the row.
pub struct Grid {
    pub title: String,
    /// One line on how to read it.
    pub note: String,
    pub header: Vec<Entry>,
    pub rows: Vec<Vec<Entry>>,
}

/// A text and the letters of its footnotes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    pub text: String,
    pub marks: String,
}

impl Grid {
    /// Columns aligned: the first to the left, the others to the right. No line break inside a row, however wide.
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
        if !self.note.is_empty() {
            text += &format!("{}\n", self.note);
        }
        for (index, line) in lines.iter().enumerate() {
            let mut drawn = String::new();
            for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
                drawn += &if column == 0 { format!("{cell:<width$}") } else { format!("  {cell:>width$}") };
            }
            text += drawn.trim_end();
            text.push('\n');
            if index == 0 {
                text += &"-".repeat(widths.iter().sum::<usize>() + 2 * (widths.len().saturating_sub(1)));
                text.push('\n');
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
