//! Checks a tree against the tables: unknown fields, missing fields, types, and fields without effect.

use palisade_types::Diagnostic;
use serde_json::Value;

use crate::{
    Content, codes,
    place::{Place, Report},
    schema::{Field, Kind, Object, Support, Type},
    suggest, value,
};

/// Checks an object of a kind.
pub(crate) fn check(kind: &Kind, root: &Place<'_>, report: &mut Report) {
    let ours = ["apiVersion", "kind"];
    fields(kind.schema, &ours, root, false, report);
}

/// Checks what is no API object but has a table.
pub(crate) fn check_object(object: &Object, root: &Place<'_>, report: &mut Report) {
    fields(object, &[], root, false, report);
}

/// Checks the fields of an object; below `status` nothing is required.
fn fields(object: &Object, ours: &[&str], place: &Place<'_>, status: bool, report: &mut Report) {
    for (key, child) in place.entries() {
        if ours.contains(&key) {
            continue;
        }
        match object.field(key) {
            Some(field) => {
                let status = status || place.path.is_empty() && key == "status";
                known(field, &child, status, report);
            }
            None if object.open => {}
            None => unknown(object, ours, key, &child, report),
        }
    }
    if status {
        return;
    }
    for field in object.fields.iter().filter(|field| field.required) {
        if place.get(field.name).is_none() {
            report.missing(place, field.name);
        }
    }
}

fn unknown(object: &Object, ours: &[&str], key: &str, child: &Place<'_>, report: &mut Report) {
    let names = object.fields.iter().map(|field| field.name).chain(ours.iter().copied());
    let problem = Diagnostic::error(codes::UNKNOWN_FIELD.id, format!("unknown field `{key}`"))
        .at(child.key_span, "")
        .field(&child.path);
    report.push(match suggest::did_you_mean(key, names) {
        Some(help) => problem.help(help),
        None => match all_names(object) {
            Some(help) => problem.help(help),
            None => problem,
        },
    });
}

/// For names too far from ours to be a slip: say what there is, if that is short.
fn all_names(object: &Object) -> Option<String> {
    let names: Vec<String> =
        object.fields.iter().map(|field| format!("`{}`", field.name)).take(9).collect();
    (!names.is_empty() && object.fields.len() < 9)
        .then(|| format!("known are {}", names.join(", ")))
}

fn known(field: &Field, place: &Place<'_>, status: bool, report: &mut Report) {
    if place.node.is_null() {
        return;
    }
    if typed(field.ty, place, status, report) {
        let most = field.max_items.and_then(|most| usize::try_from(most).ok());
        if let Some(most) = most.filter(|most| place.node.items().len() > *most) {
            let message = format!("`{}` has more than {most} entries", field.name);
            report.error_key(codes::TOO_MANY, place, message);
        }
        if !status {
            support(field, place, report);
        }
    }
}

/// Whether the value is of the type, as far as its own level goes.
fn typed(ty: Type, place: &Place<'_>, status: bool, report: &mut Report) -> bool {
    match (ty, &place.node.value) {
        (_, Content::Null) => {
            report.error(codes::TYPE, place, format!("expected {}, found nothing", expected(ty)));
            false
        }
        (Type::Any, _)
        | (Type::Bool, Content::Bool(_))
        | (Type::Number | Type::Quantity, Content::Number(_))
        | (Type::Str | Type::IntOrStr, Content::Text(_)) => true,
        (Type::Object(object), Content::Map(_)) => {
            fields(object, &[], place, status, report);
            true
        }
        (Type::Objects(object), Content::List(_)) => {
            for item in place.items() {
                typed(Type::Object(object), &item, status, report);
            }
            true
        }
        (Type::List(item), Content::List(_)) => {
            for child in place.items() {
                typed(*item, &child, status, report);
            }
            true
        }
        (Type::Map(item), Content::Map(_)) => {
            for (_, child) in place.entries() {
                typed(*item, &child, status, report);
            }
            true
        }
        (Type::Enum(values), Content::Text(text)) => one_of(values, text, place, report),
        (Type::Int32 | Type::Int64, Content::Number(_)) => integer(ty, place, report),
        (Type::IntOrStr, Content::Number(_)) => integer(Type::Int32, place, report),
        (
            Type::Bytes | Type::Duration | Type::MicroTime | Type::Quantity | Type::Time,
            Content::Text(text),
        ) => formed(ty, text, place, report),
        _ => {
            wrong_type(ty, place, report);
            false
        }
    }
}

fn wrong_type(ty: Type, place: &Place<'_>, report: &mut Report) {
    let message = format!("expected {}, found {}", expected(ty), place.node.describe());
    let help = match (ty, &place.node.value) {
        (Type::Str | Type::Enum(_), Content::Bool(value)) => {
            Some(format!("quote it: `\"{value}\"`"))
        }
        (Type::Str | Type::Enum(_), Content::Number(value)) => {
            Some(format!("quote it: `\"{value}\"`"))
        }
        (Type::Map(_) | Type::Object(_), Content::Text(text)) if text.contains(':') => {
            Some("put a space after the colon".to_owned())
        }
        (Type::List(_) | Type::Objects(_), Content::Map(_) | Content::Text(_)) => {
            Some("start each entry with `- `".to_owned())
        }
        (Type::Int32 | Type::Int64 | Type::Bool | Type::Number, Content::Text(text))
            if text.parse::<f64>().is_ok() || text == "true" || text == "false" =>
        {
            Some(format!("remove the quotes: `{text}`"))
        }
        _ => None,
    };
    match help {
        Some(help) => report.error_help(codes::TYPE, place, message, help),
        None => report.error(codes::TYPE, place, message),
    }
}

fn expected(ty: Type) -> &'static str {
    match ty {
        Type::Any => "a value",
        Type::Bool => "`true` or `false`",
        Type::Int32 | Type::Int64 | Type::Number => "a number",
        Type::IntOrStr => "a number or text",
        Type::List(_) | Type::Objects(_) => "a list",
        Type::Map(_) | Type::Object(_) => "a map",
        Type::Quantity => "a quantity",
        Type::Time | Type::MicroTime => "a time",
        Type::Duration => "a duration",
        Type::Bytes => "base64 text",
        Type::Enum(_) | Type::Str => "text",
    }
}

fn one_of(values: &[&str], text: &str, place: &Place<'_>, report: &mut Report) -> bool {
    if values.contains(&text) {
        return true;
    }
    let known: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
    let message = format!("`{text}` is none of {}", known.join(", "));
    match suggest::did_you_mean(text, values.iter().copied()) {
        Some(help) => report.error_help(codes::VALUE, place, message, help),
        None => report.error(codes::VALUE, place, message),
    }
    false
}

fn integer(ty: Type, place: &Place<'_>, report: &mut Report) -> bool {
    let Some(value) = place.node.int() else {
        report.error(codes::TYPE, place, "expected a whole number");
        return false;
    };
    if matches!(ty, Type::Int32) && i32::try_from(value).is_err() {
        report.error(codes::RANGE, place, format!("`{value}` does not fit into 32 bits"));
        return false;
    }
    true
}

fn formed(ty: Type, text: &str, place: &Place<'_>, report: &mut Report) -> bool {
    let (sound, example) = match ty {
        Type::Bytes => (value::base64(text).is_some(), "base64, such as `cGFsaXNhZGU=`"),
        Type::Duration => (value::go_duration(text).is_some(), "a duration, such as `5s`"),
        Type::Quantity => (value::is_quantity(text), "a quantity, such as `100m` or `64Mi`"),
        _ => (value::is_time(text), "a time, such as `2026-01-02T03:04:05Z`"),
    };
    if !sound {
        let shown: String = text.chars().take(40).collect();
        report.error(codes::FORM, place, format!("`{shown}` is not {example}"));
    }
    sound
}

/// Says what happens to a field that Palisade does not act on.
fn support(field: &Field, place: &Place<'_>, report: &mut Report) {
    let name = field.name;
    match field.support {
        Support::Implemented => {}
        Support::Ignored { why, benign } => {
            let harmless = [field.default, benign]
                .into_iter()
                .flatten()
                .any(|lit| lit.to_value() == place.node.to_value());
            if !harmless && !is_empty(place) {
                report.warn(codes::IGNORED, place, format!("`{name}` has no effect"), why);
            }
        }
        Support::Refused { why } => {
            if !is_empty(place) {
                let message = format!("`{name}` is not supported");
                report.push(
                    Diagnostic::error(codes::UNSUPPORTED.id, message)
                        .at(place.key_span, "")
                        .field(&place.path)
                        .help(why),
                );
            }
        }
        Support::Only { values, refused, why } => {
            let Some(text) = place.node.text().filter(|text| !values.contains(text)) else {
                return;
            };
            if refused {
                let message = format!("`{name}: {text}` is not supported");
                report.error_help(codes::UNSUPPORTED, place, message, why);
            } else {
                report.warn(codes::IGNORED, place, format!("`{name}: {text}` has no effect"), why);
            }
        }
    }
}

/// Whether a value says nothing: writing it is the same as leaving it out.
fn is_empty(place: &Place<'_>) -> bool {
    match place.node.to_value() {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(value) => value.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        // `persistentVolumeClaim: {}` names a volume type, so it says something.
        Value::Object(fields) => fields.is_empty() && !place.path.contains("volumes["),
    }
}
