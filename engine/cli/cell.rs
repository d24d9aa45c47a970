//! Text from events, as it may stand on a terminal: harmless, on one line, of bounded length.

use comfy_table::{Attribute, Cell, ContentArrangement, Table, presets};

use crate::cli::paint::Paint;

/// `text` on one line and at most `chars_max` characters long, the middle left out. Control characters could move the
/// cursor or set the terminal's title, and events are written by attackers; they become visible signs.
pub fn shown(text: &str, chars_max: usize) -> String {
    let clean: Vec<char> = text.chars().map(|c| if hidden(c) { '\u{fffd}' } else { c }).collect();
    if clean.len() <= chars_max {
        return clean.into_iter().collect();
    }
    // The end of a path or a command line tells as much as its beginning.
    let tail = chars_max.saturating_sub(1) / 2;
    let head = chars_max.saturating_sub(1) - tail;
    let (begin, end) = (&clean[..head], &clean[clean.len() - tail..]);
    begin.iter().chain(&['…']).chain(end).collect()
}

/// Controls, and the marks that turn the direction of what follows.
fn hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The same, and a hash by its beginning: nobody reads 64 digits.
pub fn short_value(text: &str, chars_max: usize) -> String {
    let is_hash = text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hash { format!("{}…", &text[..12]) } else { shown(text, chars_max) }
}

/// A table as all commands print it. Text in colour belongs into its last column: its marks count as characters.
pub fn table(header: &[&str], paint: Paint) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    // Whether to use colours is decided already; the table itself must not guess at the terminal.
    table.force_no_tty();
    let name = |name: &&str| match paint {
        Paint(true) => Cell::new(name).add_attribute(Attribute::Dim),
        Paint(false) => Cell::new(name),
    };
    table.enforce_styling().set_header(header.iter().map(name).collect::<Vec<_>>());
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_an_event_reaches_the_terminal_as_a_command() {
        assert_eq!(
            shown("a\x1b]0;title\x07b\nc\u{202e}d", 40),
            "a\u{fffd}]0;title\u{fffd}b\u{fffd}c\u{fffd}d"
        );
    }

    #[test]
    fn columns_stand_under_each_other_in_colour_too() {
        let plain = table(&["a", "b"], Paint(false)).add_row(["1", "2"]).trim_fmt();
        let colored = table(&["a", "b"], Paint(true)).add_row(["1", "2"]).trim_fmt();
        assert_eq!(plain, " a  b\n 1  2");
        assert!(colored.contains('\x1b') && colored.ends_with("\n 1  2"), "{colored:?}");
    }

    #[test]
    fn long_text_loses_its_middle() {
        assert_eq!(shown("C:\\Windows\\System32\\notepad.exe", 15), "C:\\Wind…pad.exe");
        assert_eq!(shown("ünïcödé", 7), "ünïcödé");
        assert_eq!(short_value(&"ab".repeat(32), 80), "abababababab…");
    }
}
