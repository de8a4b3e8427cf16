//! Every problem that manifests can have: the one table of codes.
//!
//! A code stays what it is for ever; a new problem gets a new number. Below 100 are problems of form,
//! which keep an object from being used or a field from having an effect; from 101 on problems of
//! meaning, which `check` finds by looking at all objects together.

mod meaning;
mod page;

pub use meaning::{
    ALLOWS_ALL, ALLOWS_NOBODY, CLIENT_PLAINTEXT, CONTRADICTION, DUPLICATE_RULE, HOST_PORT,
    HTTP_ON_TCP, METHOD_CASE, NO_ACCOUNT, NO_AUTHENTICATION, NO_NAMESPACE, NO_SIDECAR,
    NOT_A_PRINCIPAL, ONE_DASH, PATH_NEVER, PATH_SLIPS, PLAINTEXT_CALLER, PLAINTEXT_SLIPS, PROBE,
    SELECTS_NOTHING, SERVICE_PORT, TAKEN_BACK, TRUST_DOMAIN, TWO_MODES,
};
pub use page::page;

/// A kind of problem.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Code {
    /// `PAL0001` and up.
    pub id: &'static str,
    /// What is wrong, in a few words.
    pub title: &'static str,
    /// A text that has the problem.
    pub example: &'static str,
    /// How an API server classifies it.
    pub cause: Cause,
    /// Why it matters and what to do, for a problem of meaning.
    pub text: &'static str,
    /// What other tools call it: codes of `istioctl analyze` (IST) and of Kiali (KIA).
    pub also: &'static [&'static str],
}

/// `reason` of a cause in a Kubernetes `Status`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cause {
    /// The value occurs twice.
    Duplicate,
    /// The field must not be used here.
    Forbidden,
    /// The value is wrong.
    Invalid,
    /// What the value refers to is not there.
    NotFound,
    /// The value is none of those that are known.
    NotSupported,
    /// The field is missing.
    Required,
    /// The text is no object at all: an API server answers 400.
    Unreadable,
    /// The field is not known: an API server answers 400 or warns, as the request asks for.
    UnknownField,
}

impl Cause {
    /// The name in a Kubernetes `Status`.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::Invalid | Self::Unreadable | Self::UnknownField => "FieldValueInvalid",
            Self::NotFound => "FieldValueNotFound",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Required => "FieldValueRequired",
        }
    }
}

/// The code with this id.
#[must_use]
pub fn code(id: &str) -> Option<&'static Code> {
    codes().find(|code| code.id == id)
}

/// All codes, in order.
pub fn codes() -> impl Iterator<Item = &'static Code> {
    CODES.iter().chain(meaning::CODES).copied()
}

macro_rules! codes {
    ($($name:ident $id:literal $cause:ident $title:literal $example:literal)*) => {
        $(
            #[doc = $title]
            pub const $name: &Code =
                &Code { id: $id, title: $title, example: $example, cause: Cause::$cause, text: "", also: &[] };
        )*
        static CODES: &[&Code] = &[$($name),*];
    };
}

codes! {
    SYNTAX "PAL0001" Unreadable "not YAML" "a: [1, 2"
    TAB "PAL0002" Unreadable "a tab where YAML wants spaces" "a:\n\tb: 1"
    DUPLICATE_KEY "PAL0003" Unreadable "a key that occurs twice in one map" "a: 1\na: 2"
    KEY "PAL0004" Unreadable "a key that is not text" "[1]: a"
    LIMIT "PAL0005" Unreadable "more or deeper than any manifest needs" "[[[[…]]]]"
    ALIAS "PAL0006" Unreadable "an alias without its anchor" "a: *b"
    NOTATION "PAL0007" Unreadable "YAML that manifests have no use for" "a: !custom b"
    OLD_BOOLEAN "PAL0008" Invalid "a word that is a truth value in YAML 1.1" "a: yes"
    ENCODING "PAL0009" Unreadable "not UTF-8" "\\xff"
    NO_OBJECT "PAL0010" Unreadable "a document that is no object" "- a"
    NO_KIND "PAL0011" Unreadable "an object without apiVersion or kind" "metadata: {}"
    UNKNOWN_KIND "PAL0012" Unreadable "a kind that Palisade does not know" "kind: Pood"
    UNKNOWN_FIELD "PAL0013" UnknownField "a field that does not exist" "spec: {rulez: []}"
    TYPE "PAL0014" Invalid "a value of the wrong type" "replicas: many"
    REQUIRED "PAL0015" Required "a missing field" "containers: [{name: a}]"
    VALUE "PAL0016" NotSupported "a value that is none of those allowed" "mode: STRICTT"
    UNSUPPORTED "PAL0017" Forbidden "a field or value that can't be honoured" "hostNetwork: true"
    IGNORED "PAL0018" Invalid "a field or value without effect" "resources: {limits: {cpu: 1}}"
    UNSUPPORTED_KIND "PAL0019" Forbidden "a kind that can't be honoured" "kind: EnvoyFilter"
    NAME "PAL0020" Invalid "a name of the wrong form" "name: Bad_Name"
    LABEL "PAL0021" Invalid "a label or annotation of the wrong form" "labels: {'a b': c}"
    RANGE "PAL0022" Invalid "a number out of range" "port: 70000"
    DUPLICATE "PAL0023" Duplicate "a list entry that occurs twice" "ports: [{name: a}, {name: a}]"
    FORM "PAL0024" Invalid "a value of the wrong form" "memory: 12 potatoes"
    SELECTOR "PAL0025" Invalid "a selector that does not fit" "matchLabels: {app: other}"
    REFERENCE "PAL0026" NotFound "a reference to something that is not there" "volumeMounts: [{name: gone}]"
    EXCLUSIVE "PAL0027" Forbidden "fields that exclude one another" "{value: a, valueFrom: {}}"
    NAMESPACE "PAL0028" Forbidden "a namespace where none belongs" "{kind: Namespace, metadata: {namespace: a}}"
    TOO_MANY "PAL0029" Invalid "a list or text that is too long" "serviceAccounts: [17 of them]"
    EMPTY "PAL0030" Required "something that must not be empty" "from: []"
    PATTERN "PAL0031" Invalid "a pattern of the wrong form" "paths: ['/a/{b}']"
    CONDITION_KEY "PAL0032" NotSupported "an attribute that does not exist" "key: request.header[a]"
    DRY_RUN "PAL0033" Invalid "istio.io/dry-run where it has no meaning" "istio.io/dry-run: maybe"
    ANNOTATION "PAL0034" Forbidden "an annotation that belongs to Istio itself" "internal.istio.io/parents: a"
    ACTION "PAL0035" Forbidden "a rule that does not fit the action" "{action: DENY}"
    DENIES_TCP "PAL0036" Invalid "a DENY rule that denies all TCP traffic" "action: DENY, to: [{operation: {methods: [GET]}}]"
    SELECTS_ALL "PAL0037" Invalid "an empty selector" "selector: {}"
    PORT_LEVEL "PAL0038" Invalid "port modes without a workload" "portLevelMtls: {8080: {mode: DISABLE}}"
    KEYS "PAL0039" Invalid "private keys where public keys belong" "jwks: '{\"keys\":[{\"d\":\"…\"}]}'"
    INERT "PAL0040" Invalid "a value that never has the effect it suggests" "principals: ['spiffe://a/ns/b/sa/c']"
    FAIL_OPEN "PAL0041" Invalid "an authorizer that lets pass what it is not asked about" "failOpen: true"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_numbered_without_gaps() {
        for (start, table) in [(1, CODES), (101, meaning::CODES)] {
            for (index, code) in table.iter().enumerate() {
                assert_eq!(code.id, format!("PAL{:04}", index + start));
                assert_eq!(super::code(code.id), Some(*code));
            }
        }
    }
}
