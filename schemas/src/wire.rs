//! A small protobuf reader and writer for the messages that browsers need.
//!
//! prost generates two loops for each message. In this module one loop serves all messages, and the
//! generated code of a message only says where each field is stored. This saves a tenth of the
//! browser core's size (docs/decisions/0011). The models read commands with this module on servers
//! too, so that servers and browsers decide with the same code. For any bytes the reader gives
//! prost's result, and the writer writes prost's bytes (tests of this module, and the fuzz target
//! `decode`). `schemas/codegen` lists the messages.

use bytes::Bytes;

/// The deepest nesting of messages and groups that is read; the same limit as prost's.
const DEPTH_MAX: u32 = 100;

/// The reason why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(&'static str);

const END: Malformed = Malformed("it ends within a field");
const DEPTH: Malformed = Malformed("too many messages or groups in one another");
const TYPE: Malformed = Malformed("a field is of another type");

/// A message that can be read.
pub trait Read {
    /// Stores the value of the field with this number. Returns false if the message has no such
    /// field.
    ///
    /// # Errors
    /// If the value has another type than the field.
    fn take(&mut self, number: u32, value: &Value<'_>) -> Result<bool, Malformed>;
}

/// A message that can be written.
pub trait Write {
    /// Writes every field that differs from its default, in the order of the field numbers.
    fn put(&self, out: &mut Writer);
}

/// Reads a message and skips unknown fields.
///
/// # Errors
/// [`Malformed`] names the fault.
pub fn decode<M: Read + Default>(bytes: &[u8]) -> Result<M, Malformed> {
    let mut message = M::default();
    merge(&mut message, bytes, &Around { whole: None, depth: DEPTH_MAX })?;
    Ok(message)
}

/// Reads a message like [`decode`], but its `bytes` fields share the memory of `bytes`.
///
/// # Errors
/// [`Malformed`] names the fault.
pub fn decode_shared<M: Read + Default>(bytes: &Bytes) -> Result<M, Malformed> {
    let mut message = M::default();
    merge(&mut message, bytes, &Around { whole: Some(bytes), depth: DEPTH_MAX })?;
    Ok(message)
}

/// Encodes a message.
pub fn encode(message: &impl Write) -> Vec<u8> {
    let mut out = Writer(Vec::new());
    message.put(&mut out);
    out.0
}

/// Appends an encoded message to a frame, which is `repeated message … = 1`.
pub fn push(frame: &mut Vec<u8>, message: &[u8]) {
    let mut out = Writer(std::mem::take(frame));
    out.bytes_always(1, message);
    *frame = out.0;
}

/// The context of a message that is being read.
struct Around<'a> {
    /// The buffer that holds all bytes, if `bytes` fields may share its memory; otherwise `None`.
    whole: Option<&'a Bytes>,
    /// How many more messages or groups may be nested.
    depth: u32,
}

fn merge(message: &mut dyn Read, bytes: &[u8], around: &Around<'_>) -> Result<(), Malformed> {
    let mut rest = Rest(bytes);
    let mut value = Value { kind: Kind::Varint, number: 0, bytes: &[], around };
    while !rest.0.is_empty() {
        let (number, kind) = rest.key()?;
        rest.value(kind, &mut value)?;
        if !message.take(number, &value)? && value.kind == Kind::Group {
            rest.skip_group(number, around.depth, &mut value)?;
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Varint,
    Fixed64,
    Bytes,
    Group,
    Fixed32,
}

/// A field's value on the wire.
pub struct Value<'a> {
    kind: Kind,
    number: u64,
    bytes: &'a [u8],
    around: &'a Around<'a>,
}

/// Each method stores the value into `to`. The result is true, as [`Read::take`] returns it for a
/// known field.
#[allow(clippy::missing_errors_doc, missing_docs)]
impl Value<'_> {
    fn number(&self, kind: Kind) -> Result<u64, Malformed> {
        if self.kind == kind { Ok(self.number) } else { Err(TYPE) }
    }

    fn slice(&self) -> Result<&[u8], Malformed> {
        if self.kind == Kind::Bytes { Ok(self.bytes) } else { Err(TYPE) }
    }

    pub fn uint64(&self, to: &mut u64) -> Result<bool, Malformed> {
        *to = self.number(Kind::Varint)?;
        Ok(true)
    }

    #[allow(clippy::cast_possible_wrap)]
    pub fn int64(&self, to: &mut i64) -> Result<bool, Malformed> {
        *to = self.number(Kind::Varint)? as i64;
        Ok(true)
    }

    /// Drops the upper half of a number that is too large, as protobuf requires.
    #[allow(clippy::cast_possible_truncation)]
    pub fn uint32(&self, to: &mut u32) -> Result<bool, Malformed> {
        *to = self.number(Kind::Varint)? as u32;
        Ok(true)
    }

    /// Also reads enums. Drops the upper half of a number that is too large, as protobuf requires.
    #[allow(clippy::cast_possible_truncation)]
    pub fn int32(&self, to: &mut i32) -> Result<bool, Malformed> {
        *to = self.number(Kind::Varint)? as i32;
        Ok(true)
    }

    pub fn fixed64(&self, to: &mut u64) -> Result<bool, Malformed> {
        *to = self.number(Kind::Fixed64)?;
        Ok(true)
    }

    pub fn bytes(&self, to: &mut Bytes) -> Result<bool, Malformed> {
        let bytes = self.slice()?;
        *to = self.around.whole.map_or_else(|| Bytes::copy_from_slice(bytes), |whole| whole.slice_ref(bytes));
        Ok(true)
    }

    pub fn string(&self, to: &mut String) -> Result<bool, Malformed> {
        let text = std::str::from_utf8(self.slice()?).map_err(|_| Malformed("a text that is not UTF-8"))?;
        text.clone_into(to);
        Ok(true)
    }

    pub fn message(&self, to: &mut dyn Read) -> Result<bool, Malformed> {
        let depth = self.around.depth.checked_sub(1).ok_or(DEPTH)?;
        merge(to, self.slice()?, &Around { depth, ..*self.around })?;
        Ok(true)
    }

    /// Appends to a repeated field. The value is one number, or many numbers packed into one value.
    #[allow(clippy::cast_possible_truncation)]
    pub fn push_uint32(&self, to: &mut Vec<u32>) -> Result<bool, Malformed> {
        if self.kind == Kind::Varint {
            to.push(self.number as u32);
            return Ok(true);
        }
        let mut rest = Rest(self.slice()?);
        while !rest.0.is_empty() {
            to.push(rest.varint()? as u32);
        }
        Ok(true)
    }
}

/// The bytes of a message that were not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(length).map_err(|_| END)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(END)?;
        self.0 = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let (mut number, mut shift) = (0, 0);
        loop {
            let (byte, rest) = self.0.split_first().ok_or(END)?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            // Only one bit of the tenth byte fits: the 64th.
            if shift == 63 && *byte > 1 {
                return Err(Malformed("a number of more than 64 bits"));
            }
            if *byte < 0x80 {
                return Ok(number);
            }
            shift += 7;
        }
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(END)?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn key(&mut self) -> Result<(u32, u8), Malformed> {
        let key = u32::try_from(self.varint()?).map_err(|_| Malformed("a field's number is too large"))?;
        if key >> 3 == 0 {
            return Err(Malformed("a field's number is 0"));
        }
        Ok((key >> 3, (key & 7) as u8))
    }

    /// Reads a value into `to`. Of a group it reads nothing, because the caller skips groups.
    ///
    /// The value is written through a reference, because returning the struct stalled the processor
    /// on store forwarding, which took half of the decoding time.
    fn value(&mut self, kind: u8, to: &mut Value<'a>) -> Result<(), Malformed> {
        to.kind = match kind {
            0 => {
                to.number = self.varint()?;
                Kind::Varint
            }
            1 => {
                to.number = u64::from_le_bytes(self.fixed()?);
                Kind::Fixed64
            }
            2 => {
                let length = self.varint()?;
                to.bytes = self.take(length)?;
                Kind::Bytes
            }
            3 => Kind::Group,
            4 => return Err(Malformed("a group ends that did not begin")),
            5 => {
                to.number = u32::from_le_bytes(self.fixed()?).into();
                Kind::Fixed32
            }
            _ => return Err(Malformed("a field of a type that there is not")),
        };
        Ok(())
    }

    /// Skips the content and the end tag of the group with this number.
    fn skip_group(&mut self, number: u32, depth: u32, value: &mut Value<'a>) -> Result<(), Malformed> {
        let depth = depth.checked_sub(1).ok_or(DEPTH)?;
        loop {
            match self.key()? {
                (ended, 4) if ended == number => return Ok(()),
                (inner, kind) => {
                    // Every nested group counts towards the depth.
                    if depth == 0 {
                        return Err(DEPTH);
                    }
                    self.value(kind, value)?;
                    if value.kind == Kind::Group {
                        self.skip_group(inner, depth, value)?;
                    }
                }
            }
        }
    }
}

/// The buffer of a message that is being written.
pub struct Writer(Vec<u8>);

/// A method writes nothing if the value is the default value, unless the method's name ends in
/// `_always`.
#[allow(missing_docs)]
impl Writer {
    #[allow(clippy::cast_possible_truncation)]
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn key(&mut self, number: u32, kind: u32) {
        self.varint(u64::from(number << 3 | kind));
    }

    pub fn uint64(&mut self, number: u32, value: u64) {
        if value != 0 {
            self.key(number, 0);
            self.varint(value);
        }
    }

    #[allow(clippy::cast_sign_loss)]
    pub fn int64(&mut self, number: u32, value: i64) {
        self.uint64(number, value as u64);
    }

    pub fn uint32(&mut self, number: u32, value: u32) {
        self.uint64(number, value.into());
    }

    pub fn int32(&mut self, number: u32, value: i32) {
        self.int64(number, value.into());
    }

    pub fn fixed64(&mut self, number: u32, value: u64) {
        if value != 0 {
            self.key(number, 1);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    pub fn bytes(&mut self, number: u32, value: &[u8]) {
        if !value.is_empty() {
            self.bytes_always(number, value);
        }
    }

    pub fn bytes_always(&mut self, number: u32, value: &[u8]) {
        self.key(number, 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    pub fn string(&mut self, number: u32, value: &str) {
        self.bytes(number, value.as_bytes());
    }

    pub fn message(&mut self, number: u32, value: &dyn Write) {
        self.key(number, 2);
        let start = self.begin();
        value.put(self);
        self.end(start);
    }

    pub fn all_uint32(&mut self, number: u32, values: &[u32]) {
        if !values.is_empty() {
            self.key(number, 2);
            let start = self.begin();
            values.iter().for_each(|value| self.varint(u64::from(*value)));
            self.end(start);
        }
    }

    /// Reserves one byte for the length of the following bytes. Returns the position for
    /// [`Writer::end`].
    fn begin(&mut self) -> usize {
        self.0.push(0);
        self.0.len()
    }

    /// Writes the length of all bytes since `start`, and makes room for it if it needs more than
    /// one byte.
    fn end(&mut self, start: usize) {
        if let (length @ ..0x80, Some(place)) = (self.0.len() - start, self.0.get_mut(start - 1)) {
            *place = length as u8;
            return;
        }
        let mut length = Self(Vec::new());
        length.varint((self.0.len() - start) as u64);
        self.0.splice(start - 1..start, length.0);
    }
}

#[allow(clippy::all, clippy::pedantic)]
mod generated {
    use super::{Malformed, Read, Value, Write, Writer};
    use crate::proto;

    include!("generated/driftless.v1.wire.rs");
}

#[cfg(test)]
mod tests;
