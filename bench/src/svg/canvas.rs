//! An SVG document under construction: elements, escaping, colours of both modes.

use std::fmt::Write;

pub const WIDTH: f64 = 960.0;
/// Where the first row below the title may begin.
pub const BODY_Y: f64 = 92.0;
const FOOTER_HEIGHT: f64 = 34.0;
/// Of a line of small print.
const LINE_CHARS: usize = 145;

/// Readable on white and on black. Isopach has its own.
pub const PEER_COLOURS: [&str; 9] =
    ["#d97706", "#1a9e6f", "#9a5cc6", "#d1495b", "#1b9aaa", "#a47148", "#d864a9", "#8a8d0f", "#7d8590"];
const ISOPACH_COLOUR: &str = "#2f81f7";

const STYLE: &str = "\
text{font:12px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;fill:#1f2328}\
.title{font-size:18px;font-weight:600}.strong{font-weight:600}.small{font-size:11px}.dim{fill:#59636e}\
.ground{fill:#ffffff}.rule{stroke:#d1d9e0;stroke-width:1}.base{stroke:#59636e;stroke-width:1}\
.whisker{stroke:#1f2328;stroke-width:1}\
.ahead{fill:#2f81f7}.behind{fill:#d97706}\
@media (prefers-color-scheme: dark){text{fill:#e6edf3}.dim{fill:#9198a1}.ground{fill:#0d1117}.rule{stroke:#3d444d}\
.base{stroke:#9198a1}.whisker{stroke:#e6edf3}}";

pub struct Canvas {
    body: String,
    title: String,
}

/// Which end of a text is at its x.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

impl Canvas {
    /// `notes` are lines below the title.
    pub fn new(title: &str, notes: &[&str]) -> Canvas {
        let mut canvas = Canvas { body: String::new(), title: title.into() };
        canvas.text(16.0, 30.0, Anchor::Start, "title", title);
        for (index, note) in notes.iter().enumerate() {
            canvas.text(16.0, 50.0 + 16.0 * index as f64, Anchor::Start, "dim", note);
        }
        canvas
    }

    pub fn text(&mut self, x: f64, y: f64, anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escaped(text);
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{text}</text>"
        ));
    }

    /// A strong name and a dim explanation after it, on one line.
    pub fn heading(&mut self, x: f64, y: f64, name: &str, what: &str) {
        let what = shortened(what, LINE_CHARS.saturating_sub(name.chars().count() + 6));
        let (name, what) = (escaped(name), escaped(&what));
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"strong\">{name}<tspan class=\"dim small\" dx=\"8\" \
             font-weight=\"400\" style=\"font-weight:400\">{what}</tspan></text>"
        ));
    }

    pub fn bar(&mut self, x: f64, y: f64, width: f64, height: f64, class: &str) {
        let width = width.max(0.5);
        self.add(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"1.5\" class=\"{class}\"/>"
        ));
    }

    pub fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), class: &str) {
        self.add(format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>"
        ));
    }

    /// From `x1` to `x2` with a stop at both ends.
    pub fn whisker(&mut self, x1: f64, x2: f64, y: f64) {
        const STOP: f64 = 3.0;
        self.line((x1, y), (x2, y), "whisker");
        for x in [x1, x2] {
            self.line((x, y - STOP), (x, y + STOP), "whisker");
        }
    }

    pub fn dot(&mut self, x: f64, y: f64, radius: f64, class: &str) {
        self.add(format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" class=\"{class}\"/>"));
    }

    /// The document; its rows end at `y`, the footer stands below.
    pub fn finish(mut self, y: f64, footer: &str) -> String {
        self.text(16.0, y + 18.0, Anchor::Start, "small dim", &shortened(footer, LINE_CHARS));
        let height = y + FOOTER_HEIGHT;
        let title = escaped(&self.title);
        let mut colours = format!(".isopach{{fill:{ISOPACH_COLOUR};stroke:{ISOPACH_COLOUR}}}");
        for (index, colour) in PEER_COLOURS.iter().enumerate() {
            colours += &format!(".peer{index}{{fill:{colour};stroke:{colour}}}");
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" \
             height=\"{height:.0}\" role=\"img\" aria-label=\"{title}\">\n<title>{title}</title>\n\
             <style>{STYLE}{colours}rect{{stroke:none}}.hollow{{fill:none;stroke-width:1.5}}</style>\n\
             <rect class=\"ground\" width=\"{WIDTH}\" height=\"{height:.0}\"/>\n{}</svg>\n",
            self.body
        )
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.body, "{element}");
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '&' => escaped += "&amp;",
            '"' => escaped += "&quot;",
            control if control.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}

fn shortened(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.into();
    }
    let kept: String = text.chars().take(chars.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escaped("<a href=\"x\">&\n"), "&lt;a href=&quot;x&quot;&gt;&amp; ");
    }

    #[test]
    fn long_text_ends_in_an_ellipsis() {
        assert_eq!(shortened("äbcdef", 6), "äbcdef");
        assert_eq!(shortened("äb cdefg", 4), "äb…");
    }
}
