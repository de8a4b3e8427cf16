//! How patches merge lists: a cursor into the tables.

use crate::schema::{self, Merge, Object, Type};

/// A place in the schema of a kind, for whoever walks an object along with it.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    ty: Type,
    merge: Merge,
}

impl Schema {
    /// The root of a kind; none if the kind is unknown.
    #[must_use]
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        schema::lookup(api_version, kind).map(|known| Self::object(known.kind.schema))
    }

    /// The field of an object, or the value of a map; none if there is no such field.
    #[must_use]
    pub fn field(self, name: &str) -> Option<Self> {
        match self.ty {
            Type::Object(object) => {
                object.field(name).map(|field| Self { ty: field.ty, merge: field.merge })
            }
            Type::Map(item) => Some(Self { ty: *item, merge: Merge::Default }),
            _ => None,
        }
    }

    /// The items of a list; none if it is no list.
    #[must_use]
    pub fn item(self) -> Option<Self> {
        match self.ty {
            Type::Objects(object) => Some(Self::object(object)),
            Type::List(item) => Some(Self { ty: *item, merge: Merge::Default }),
            _ => None,
        }
    }

    /// What it holds.
    #[must_use]
    pub fn ty(self) -> Type {
        self.ty
    }

    /// How a patch merges it.
    #[must_use]
    pub fn merge(self) -> Merge {
        self.merge
    }

    fn object(object: &'static Object) -> Self {
        Self { ty: Type::Object(object), merge: Merge::Default }
    }
}

/// How a patch merges the field at the end of a path of field names; list items need no step.
#[must_use]
pub fn merge_strategy(api_version: &str, kind: &str, path: &[&str]) -> Option<Merge> {
    let mut at = Schema::of(api_version, kind)?;
    for name in path {
        at = at.item().unwrap_or(at).field(name)?;
    }
    Some(at.merge())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_merge_keys() {
        let keys = |path: &[&str]| match merge_strategy("apps/v1", "Deployment", path) {
            Some(Merge::Map { keys, .. }) => keys.to_vec(),
            _ => Vec::new(),
        };
        let container = ["spec", "template", "spec", "containers"];
        assert_eq!(keys(&container), ["name"]);
        assert_eq!(keys(&[&container[..], &["env"]].concat()), ["name"]);
        assert_eq!(keys(&[&container[..], &["ports"]].concat()), ["containerPort", "protocol"]);
        assert_eq!(keys(&[&container[..], &["volumeMounts"]].concat()), ["mountPath"]);
        assert_eq!(keys(&[&container[..], &["args"]].concat()), [""; 0]);
        assert_eq!(keys(&["status", "conditions"]), ["type"]);
        assert_eq!(
            merge_strategy("apps/v1", "Deployment", &["spec", "strategy"]),
            Some(Merge::RetainKeys)
        );
        assert_eq!(merge_strategy("v1", "Pod", &["metadata", "finalizers"]), Some(Merge::Set));
        assert_eq!(merge_strategy("v1", "Pod", &["spec", "nothing"]), None);
    }
}
