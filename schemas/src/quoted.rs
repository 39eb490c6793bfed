//! The form in which messages show a text that came from outside.

use std::fmt;

/// Shows a text in quotation marks. Escapes every character that could end the line or the
/// quotation, is invisible, or changes the direction of writing. So a text from outside cannot
/// forge the rest of a log line.
///
/// `{:?}` does much the same. But the browser's core is built without `Debug`, whose tables of
/// printable characters take 3 KB (docs/decisions/0011).
#[derive(Clone, Copy)]
pub struct Quoted<'a>(pub &'a str);

/// Whether a character must be escaped: control characters, and characters without a glyph, such as
/// soft hyphens, direction marks, joiners, fillers, variation selectors, line and paragraph
/// separators, interlinear annotations, tags, private use, and code points that Unicode never
/// assigns.
fn is_hidden(c: char) -> bool {
    matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{a0}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{2800}' | '\u{205f}'..='\u{206f}' | '\u{3000}'
        | '\u{3164}' | '\u{e000}'..='\u{f8ff}' | '\u{fdd0}'..='\u{fdef}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..)
        || u32::from(c) & 0xfffe == 0xfffe
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c if is_hidden(c) => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                c => fmt::Write::write_char(f, c)?,
            }
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_are_escaped() {
        let quoted =
            Quoted("canvas/ä \"日本\" \\ 🎨\n\r\t\0\u{7f}\u{9b}\u{202e}\u{200b}\u{feff}\u{e0041}\u{2028}").to_string();
        assert_eq!(
            quoted,
            r#""canvas/ä \"日本\" \\ 🎨\n\r\t\u{0}\u{7f}\u{9b}\u{202e}\u{200b}\u{feff}\u{e0041}\u{2028}""#
        );
    }

    #[test]
    fn ascii_is_as_debug_shows_it() {
        let ascii: String = ('\0'..='\x7f').filter(|c| *c != '\'').collect();
        assert_eq!(Quoted(&ascii).to_string(), format!("{ascii:?}").replace("\\0", "\\u{0}"));
    }
}
