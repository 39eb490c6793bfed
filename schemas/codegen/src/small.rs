//! Generates `driftless.v1.wire.rs`: the field tables of messages, for the small reader and writer
//! in `schemas/src/wire.rs`.

use anyhow::{Context, Result, bail};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The messages that browsers read and write. The generator adds the messages that occur in their
/// fields.
const ROOTS: [&str; 5] = ["ServerFrame", "ClientFrame", "Updates", "GridCommand", "MapCommand"];

pub fn generate(descriptors: &FileDescriptorSet) -> Result<String> {
    let all: BTreeMap<&str, &DescriptorProto> =
        descriptors.file.iter().flat_map(|file| &file.message_type).map(|message| (message.name(), message)).collect();
    let mut needed = BTreeSet::new();
    let mut open = ROOTS.to_vec();
    while let Some(name) = open.pop() {
        if needed.insert(name) {
            let message = all.get(name).with_context(|| format!("there is no message {name}"))?;
            open.extend(message.field.iter().filter(|field| field.r#type() == Type::Message).map(of_type));
        }
    }
    let mut out = String::new();
    for name in needed {
        message(&mut out, all[name])?;
    }
    Ok(out)
}

/// The name of the message that is the type of a field.
fn of_type(field: &FieldDescriptorProto) -> &str {
    field.type_name().rsplit('.').next().unwrap_or_default()
}

/// Appends the implementations of `Read` and `Write` for one message.
fn message(out: &mut String, message: &DescriptorProto) -> Result<()> {
    let name = message.name();
    let mut fields: Vec<_> = message.field.iter().collect();
    fields.sort_by_key(|field| field.number());
    let (mut take, mut put) = (String::new(), String::new());
    for field in fields {
        let number = field.number();
        let kind = match field.r#type() {
            Type::Uint64 => "uint64",
            Type::Int64 => "int64",
            Type::Uint32 => "uint32",
            Type::Int32 | Type::Enum => "int32",
            Type::Fixed64 => "fixed64",
            Type::Bytes => "bytes",
            Type::String => "string",
            Type::Message => "message",
            other => bail!("{name}.{}: the small reader has no {other:?} yet", field.name()),
        };
        let is_repeated = field.label() == Label::Repeated;
        let to = format!("self.{}", field.name());
        if let Some(oneof) = field.oneof_index {
            let oneof = message.oneof_decl[oneof as usize].name();
            let variant = format!("proto::{}::{}::{}", snake(name), camel(oneof), camel(field.name()));
            let to = format!("self.{oneof}");
            writeln!(
                take,
                "{number} => {{ if !matches!({to}, Some({variant}(_))) {{ {to} = Some({variant}(Default::default())); }}"
            )?;
            writeln!(take, "match &mut {to} {{ Some({variant}(inner)) => value.{kind}(inner), _ => Ok(true) }} }}")?;
            let always = match kind {
                "bytes" => "bytes_always",
                "message" => "message",
                other => bail!("{name}.{}: the small writer has no {other} in a oneof yet", field.name()),
            };
            writeln!(put, "if let Some({variant}(inner)) = &{to} {{ out.{always}({number}, inner); }}")?;
        } else if is_repeated {
            match kind {
                "message" => {
                    writeln!(
                        take,
                        "{number} => {{ let mut inner = proto::{}::default(); value.message(&mut inner)?; {to}.push(inner); Ok(true) }}",
                        of_type(field)
                    )?;
                    writeln!(put, "for inner in &{to} {{ out.message({number}, inner); }}")?;
                }
                "uint32" => {
                    writeln!(take, "{number} => value.push_uint32(&mut {to}),")?;
                    writeln!(put, "out.all_uint32({number}, &{to});")?;
                }
                other => bail!("{name}.{}: the small reader has no repeated {other} yet", field.name()),
            }
        } else if kind == "message" {
            writeln!(take, "{number} => value.message({to}.get_or_insert_default()),")?;
            writeln!(put, "if let Some(inner) = &{to} {{ out.message({number}, inner); }}")?;
        } else {
            writeln!(take, "{number} => value.{kind}(&mut {to}),")?;
            let by = if matches!(kind, "bytes" | "string") { "&" } else { "" };
            writeln!(put, "out.{kind}({number}, {by}{to});")?;
        }
    }
    let unused = if put.is_empty() { "_" } else { "" };
    writeln!(
        out,
        "impl Read for proto::{name} {{ fn take(&mut self, number: u32, {unused}value: &Value<'_>) -> Result<bool, Malformed> {{ match number {{ {take} _ => Ok(false) }} }} }}"
    )?;
    writeln!(out, "impl Write for proto::{name} {{ fn put(&self, {unused}out: &mut Writer) {{ {put} }} }}")?;
    Ok(())
}

/// The name of a message's module: `track_rejected` for `TrackRejected`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// The name of the enum variant for a field: `TrackRejected` for `track_rejected`.
fn camel(name: &str) -> String {
    let word = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    name.split('_').map(word).collect()
}
