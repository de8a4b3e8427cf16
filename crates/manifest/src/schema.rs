//! What a field of an object may be, as data.
//!
//! The tables below this module say for each kind which fields exist, what they hold, whether
//! Palisade acts on them and how lists are merged. Decoding, defaulting, merge patches, OpenAPI
//! documents and CustomResourceDefinitions are all read from these tables, so they can't disagree.
//! Rules that need more than one field are not here but in `check`.

mod kinds;
mod tables;

pub use kinds::{Kind, KindRef, Names, kind_of, kinds, lookup};
pub(crate) use tables::mesh::MESH_CONFIG;

/// An object type: its OpenAPI name and its fields.
#[derive(Debug)]
pub struct Object {
    /// Name of the definition, such as `io.k8s.api.core.v1.PodSpec`.
    pub name: &'static str,
    /// Known fields, in alphabetical order.
    pub fields: &'static [Field],
    /// Whether unknown fields are let through (only in `status`, which people do not write).
    pub open: bool,
}

impl Object {
    /// The field of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// A field of an [`Object`].
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Name as written in YAML.
    pub name: &'static str,
    /// What it holds.
    pub ty: Type,
    /// Whether it must be there.
    pub required: bool,
    /// What an API server puts there if it is absent.
    pub default: Option<Lit>,
    /// What Palisade does with it.
    pub support: Support,
    /// How a list is merged.
    pub merge: Merge,
    /// Most entries of a list.
    pub max_items: Option<u32>,
    /// One line for `kubectl explain`; may be empty.
    pub doc: &'static str,
}

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub enum Type {
    /// Anything; fields below are kept as they are.
    Any,
    /// `true` or `false`.
    Bool,
    /// Base64 text.
    Bytes,
    /// A Go duration, such as `5s`.
    Duration,
    /// One of these texts.
    Enum(&'static [&'static str]),
    /// A number of 32 bits.
    Int32,
    /// A number of 64 bits.
    Int64,
    /// A number or a text, such as a port by number or name.
    IntOrStr,
    /// A list.
    List(&'static Type),
    /// A map from text.
    Map(&'static Type),
    /// A time with microseconds.
    MicroTime,
    /// Any number.
    Number,
    /// An object.
    Object(&'static Object),
    /// A list of objects.
    Objects(&'static Object),
    /// A quantity, such as `100m` or `64Mi`.
    Quantity,
    /// Text.
    Str,
    /// RFC 3339.
    Time,
}

/// What Palisade does with a field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Support {
    /// Acts on it, or keeps it for those who do.
    Implemented,
    /// Leaves it without effect, and warns; the text says why.
    Ignored {
        /// Completes "is ignored: ".
        why: &'static str,
        /// Besides empty values and the default, the value that says what happens anyway.
        benign: Option<Lit>,
    },
    /// Acts on these values only.
    Only {
        /// The values that are acted on.
        values: &'static [&'static str],
        /// Whether other values are refused, or else warned about.
        refused: bool,
        /// Completes "is not supported: ".
        why: &'static str,
    },
    /// Refuses it, since ignoring it would be less safe or would not work; the text says why.
    Refused {
        /// Completes "is not supported: ".
        why: &'static str,
    },
}

/// A literal in a table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lit {
    /// A truth value.
    Bool(bool),
    /// An empty object.
    Empty,
    /// A number.
    Int(i64),
    /// A text.
    Str(&'static str),
}

impl Lit {
    /// The literal as JSON.
    #[must_use]
    pub fn to_value(self) -> serde_json::Value {
        match self {
            Self::Bool(value) => value.into(),
            Self::Empty => serde_json::Value::Object(serde_json::Map::new()),
            Self::Int(value) => value.into(),
            Self::Str(value) => value.into(),
        }
    }
}

/// How a strategic merge patch and a server-side apply treat a field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Merge {
    /// Lists are replaced, objects merged field by field.
    Default,
    /// List entries are matched by key.
    Map {
        /// The keys of a server-side apply; a strategic merge patch uses the first one only.
        keys: &'static [&'static str],
        /// Whether a patch names the fields to keep in each entry.
        retain_keys: bool,
    },
    /// A list of texts without order.
    Set,
    /// An object of which a patch names the fields to keep.
    RetainKeys,
}

/// A table's field.
const fn f(name: &'static str, ty: Type) -> Field {
    Field {
        name,
        ty,
        required: false,
        default: None,
        support: Support::Implemented,
        merge: Merge::Default,
        max_items: None,
        doc: "",
    }
}

/// A table's object.
const fn object(name: &'static str, fields: &'static [Field]) -> Object {
    Object { name, fields, open: false }
}

/// A table's object that may have fields which the table does not list.
const fn open_object(name: &'static str, fields: &'static [Field]) -> Object {
    Object { name, fields, open: true }
}

impl Field {
    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn default(mut self, value: Lit) -> Self {
        self.default = Some(value);
        self
    }

    const fn ignored(mut self, why: &'static str) -> Self {
        self.support = Support::Ignored { why, benign: None };
        self
    }

    const fn ignored_unless(mut self, benign: Lit, why: &'static str) -> Self {
        self.support = Support::Ignored { why, benign: Some(benign) };
        self
    }

    const fn only(mut self, values: &'static [&'static str], why: &'static str) -> Self {
        self.support = Support::Only { values, refused: true, why };
        self
    }

    const fn only_warn(mut self, values: &'static [&'static str], why: &'static str) -> Self {
        self.support = Support::Only { values, refused: false, why };
        self
    }

    const fn refused(mut self, why: &'static str) -> Self {
        self.support = Support::Refused { why };
        self
    }

    const fn merge(mut self, keys: &'static [&'static str]) -> Self {
        self.merge = Merge::Map { keys, retain_keys: false };
        self
    }

    const fn retain_keys(mut self) -> Self {
        self.merge = match self.merge {
            Merge::Map { keys, .. } => Merge::Map { keys, retain_keys: true },
            _ => Merge::RetainKeys,
        };
        self
    }

    const fn set(mut self) -> Self {
        self.merge = Merge::Set;
        self
    }

    const fn at_most(mut self, items: u32) -> Self {
        self.max_items = Some(items);
        self
    }

    const fn doc(mut self, text: &'static str) -> Self {
        self.doc = text;
        self
    }
}
