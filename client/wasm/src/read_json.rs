//! A parser from JSON text to [`Value`]. It is written by hand, because serde_json's parser would
//! be an eighth of the core's size.
//!
//! In browsers JavaScript parses numbers with a fraction or an exponent, and does so exactly. Whole
//! numbers of 64 bits are parsed here, because JavaScript would round them.

use crate::float;
use serde_json::{Map, Number, Value};
use std::str::Chars;

/// The deepest nesting of arrays and objects that is accepted; the same limit as serde_json's.
const DEPTH_MAX: usize = 127;

/// Parses one value, with the same result as `serde_json::from_str`.
///
/// # Errors
/// A text for people that names the byte from which on the text is not JSON.
pub fn read(text: &str) -> Result<Value, String> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(DEPTH_MAX).filter(|_| reader.peek().is_none());
    value.ok_or_else(|| format!("not JSON, from byte {} on", reader.at))
}

struct Reader<'a> {
    text: &'a str,
    /// The next byte to read; always at the start of a character.
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Skips white space, and returns the next byte without consuming it.
    fn peek(&mut self) -> Option<u8> {
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        self.at += self.rest().bytes().take_while(is_space).count();
        self.rest().bytes().next()
    }

    /// Skips white space, and consumes `token` if it is next.
    fn take(&mut self, token: &str) -> Option<()> {
        self.peek();
        self.rest().strip_prefix(token)?;
        self.at += token.len();
        Some(())
    }

    /// Reads a value. `depth` is the number of arrays and objects that may still be nested. Here
    /// and in the methods below, `None` means that the text is not JSON.
    fn value(&mut self, depth: usize) -> Option<Value> {
        match self.peek()? {
            b'n' => self.take("null").map(|()| Value::Null),
            b't' => self.take("true").map(|()| Value::Bool(true)),
            b'f' => self.take("false").map(|()| Value::Bool(false)),
            b'"' => self.string().map(Value::String),
            b'[' => {
                let depth = depth.checked_sub(1)?;
                let mut array = Vec::new();
                self.members(["[", "]"], |reader| {
                    array.push(reader.value(depth)?);
                    Some(())
                })?;
                Some(Value::Array(array))
            }
            b'{' => {
                let depth = depth.checked_sub(1)?;
                let mut object = Map::new();
                self.members(["{", "}"], |reader| {
                    reader.peek();
                    let name = reader.string()?;
                    reader.take(":")?;
                    object.insert(name, reader.value(depth)?);
                    Some(())
                })?;
                Some(Value::Object(object))
            }
            _ => self.number().map(Value::Number),
        }
    }

    /// Reads the comma-separated members between `open` and `close`; `member` reads one of them.
    fn members(&mut self, [open, close]: [&str; 2], mut member: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.take(open)?;
        if self.take(close).is_some() {
            return Some(());
        }
        loop {
            member(self)?;
            if self.take(close).is_some() {
                return Some(());
            }
            self.take(",")?;
        }
    }

    fn string(&mut self) -> Option<String> {
        let mut chars = self.rest().strip_prefix('"')?.chars();
        let mut out = String::new();
        loop {
            out.push(match chars.next()? {
                '"' => break,
                '\\' => match chars.next()? {
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'u' => escaped(&mut chars)?,
                    c @ ('"' | '\\' | '/') => c,
                    _ => return None,
                },
                '\0'..' ' => return None,
                c => c,
            });
        }
        self.at = self.text.len() - chars.as_str().len();
        Some(out)
    }

    fn number(&mut self) -> Option<Number> {
        let rest = self.rest();
        let byte = |at: usize| rest.as_bytes().get(at).copied().unwrap_or(0);
        let digits = |from: usize| rest.bytes().skip(from).take_while(u8::is_ascii_digit).count();
        let start = usize::from(byte(0) == b'-');
        let mut end = start + digits(start);
        // JSON allows neither a number without digits nor leading zeros.
        if end == start || (end > start + 1 && byte(start) == b'0') {
            return None;
        }
        let whole = end;
        if byte(end) == b'.' {
            let fraction = digits(end + 1);
            end += 1 + fraction;
            (fraction > 0).then_some(())?;
        }
        if byte(end) | 0x20 == b'e' {
            end += 1 + usize::from(matches!(byte(end + 1), b'+' | b'-'));
            let exponent = digits(end);
            end += exponent;
            (exponent > 0).then_some(())?;
        }
        self.at += end;
        let text = &rest[..end];
        // A whole number too large for 64 bits is read as a float, as is -0, which no integer type
        // has.
        let number = if whole < end || text == "-0" {
            None
        } else {
            text.parse::<u64>().map(Number::from).or_else(|_| text.parse::<i64>().map(Number::from)).ok()
        };
        number.or_else(|| Number::from_f64(float::read(text)))
    }
}

/// Reads the rest of a `\u` escape: the digits of a character, or of a pair of surrogates that
/// stand for one.
fn escaped(chars: &mut Chars<'_>) -> Option<char> {
    let first = unit(chars)?;
    if !(0xd800..0xdc00).contains(&first) {
        return char::from_u32(first);
    }
    *chars = chars.as_str().strip_prefix("\\u")?.chars();
    let second = unit(chars)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
    char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + second)
}

/// Reads four hexadecimal digits.
fn unit(chars: &mut Chars<'_>) -> Option<u32> {
    (0..4).try_fold(0, |unit, _| Some(unit << 4 | chars.next()?.to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Checks that this parser and serde_json agree about `text`.
    fn compare(text: &str) {
        match (read(text), serde_json::from_str::<Value>(text)) {
            (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs, "{text}"),
            (Err(_), Err(_)) => {}
            (ours, theirs) => panic!("{text}: {ours:?}, but serde_json: {theirs:?}"),
        }
    }

    #[test]
    fn special_cases_are_read_as_serde_json_reads_them() {
        for text in [
            "",
            " ",
            "null",
            "nul",
            "nulll",
            "true",
            "tru",
            "false",
            "fals",
            "1 2",
            "\t1\r\n",
            "\u{a0}1",
            "-",
            "--1",
            "+1",
            "0",
            "-0",
            "00",
            "01",
            "-01",
            "1.",
            ".5",
            "1.5",
            "-1.5e3",
            "1e",
            "1e+",
            "1E-2",
            "1.e2",
            "0e0",
            "1e400",
            "-1e400",
            "1e-400",
            "5e-324",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775808",
            "-9223372036854775809",
            "9007199254740993",
            "1e113",
            "1.7976931348623157e308",
            "2.2250738585072011e-308",
            "NaN",
            "Infinity",
            "0x10",
            "1_0",
            "[",
            "]",
            "[]",
            "[,]",
            "[1,]",
            "[1 2]",
            "[1,2]",
            "[[],[[]]]",
            "{",
            "{}",
            "{,}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{"a":1,"a":2}"#,
            "{a:1}",
            r#"{ "a" : [ 1 , { } ] }"#,
            r#"{1:2}"#,
            "\"",
            "\"\"",
            "\"a\u{7f}é🎨\"",
            "\"\n\"",
            "\"\u{0}\"",
            r#""\"\\\/\b\f\n\r\t""#,
            r#""\a""#,
            r#""\u00e9""#,
            r#""\u00E9""#,
            r#""\u12""#,
            r#""\u+123""#,
            r#""\ud83c\udfa8""#,
            r#""\ud83c""#,
            r#""\ud83cx""#,
            r#""\ud83c\u0041""#,
            r#""\udfa8""#,
            r#""\udfa8\ud83c""#,
            r#""\ud83c\ud83c""#,
            "[\"a\":1]",
            "{[]:1}",
            "// 1",
            "1 //",
        ] {
            compare(text);
        }
        for depth in [126, 127, 128, 129, 10_000] {
            compare(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
            compare(&format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth)));
        }
    }

    #[test]
    fn an_error_names_the_position() {
        assert_eq!(read("[1, x]").unwrap_err(), "not JSON, from byte 4 on");
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(".{0,3}", inner, 0..6)
                    .prop_map(|all| Value::Object(all.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_value_is_read_as_serde_json_reads_it(value in value(), is_pretty: bool) {
            compare(&if is_pretty { format!("{value:#}") } else { value.to_string() });
        }

        #[test]
        fn any_text_is_read_as_serde_json_reads_it(value in value(), at: prop::sample::Index, with in "[-0-9eE.+\\[\\]{},:\"u\\\\ a-f]{0,3}", cut in 0usize..3) {
            let mut text: Vec<char> = value.to_string().chars().collect();
            let at = at.index(text.len() + 1);
            let end = (at + cut).min(text.len());
            text.splice(at..end, with.chars());
            compare(&text.into_iter().collect::<String>());
        }
    }
}
