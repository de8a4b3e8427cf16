//! The fields of one head, kept by position in order and original case, and what `Connection` says about
//! them. The list is reused from one message to the next, so that a parsed field allocates nothing.

use crate::{
    name::{Name, NameSet},
    part::Part,
};

/// All fields of a head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    pub(crate) entries: Vec<Entry>,
    present: NameSet,
}

/// One field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) name: Part,
    pub(crate) value: Part,
    pub(crate) known: Name,
    /// Not passed on: by its name, or because `Connection` nominates it.
    pub(crate) hop_by_hop: bool,
}

/// What the `Connection` fields say.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Connection {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
}

/// `Connection` nominates a protected field or too many.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct BadNomination;

impl Fields {
    /// Forgets all fields and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.present = NameSet::default();
    }

    /// Takes what was parsed out of `buf`.
    pub(crate) fn fill(&mut self, buf: &[u8], headers: &[httparse::Header<'_>]) {
        self.clear();
        self.entries.extend(headers.iter().map(|header| {
            let known = Name::of(header.name.as_bytes());
            Entry {
                name: Part::locate(buf, header.name.as_bytes()),
                value: Part::locate(buf, header.value),
                known,
                hop_by_hop: known.is_hop_by_hop(),
            }
        }));
        for entry in &self.entries {
            self.present.insert(entry.known);
        }
    }

    /// Adds a field at the end.
    pub(crate) fn push(&mut self, entry: Entry) {
        self.present.insert(entry.known);
        self.entries.push(entry);
    }

    /// Where the value of the only field of a recognised name lies; an error if there are several.
    pub(crate) fn only_part(&self, name: Name) -> Result<Option<Part>, Repeated> {
        let mut entries = self.entries.iter().filter(|entry| entry.known == name);
        match (entries.next(), entries.next()) {
            (first, None) => Ok(first.map(|entry| entry.value)),
            (_, Some(_)) => Err(Repeated),
        }
    }

    /// Values of the fields of a recognised name, in order.
    pub(crate) fn all<'a>(&'a self, buf: &'a [u8], name: Name) -> impl Iterator<Item = &'a [u8]> {
        let entries = if self.present.contains(name) { self.entries.as_slice() } else { &[] };
        entries.iter().filter(move |entry| entry.known == name).map(|entry| entry.value.of(buf))
    }

    /// The value of the first field of a recognised name.
    pub(crate) fn first<'a>(&'a self, buf: &'a [u8], name: Name) -> Option<&'a [u8]> {
        self.all(buf, name).next()
    }

    /// The value of the only field of a recognised name; an error if there are several.
    pub(crate) fn only<'a>(
        &'a self,
        buf: &'a [u8],
        name: Name,
    ) -> Result<Option<&'a [u8]>, Repeated> {
        let mut values = self.all(buf, name);
        match (values.next(), values.next()) {
            (first, None) => Ok(first),
            (_, Some(_)) => Err(Repeated),
        }
    }

    /// Name and value of the fields that are passed on.
    pub(crate) fn end_to_end<'a>(
        &'a self,
        buf: &'a [u8],
    ) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.entries
            .iter()
            .filter(|entry| !entry.hop_by_hop)
            .map(|entry| (entry.name.text(buf), entry.value.of(buf)))
    }

    /// Reads the `Connection` fields, and marks the fields that they nominate as hop-by-hop.
    pub(crate) fn read_connection(&mut self, buf: &[u8]) -> Result<Connection, BadNomination> {
        let mut connection = Connection::default();
        if !self.present.contains(Name::Connection) {
            return Ok(connection);
        }
        let mut nominated = 0;
        for index in 0..self.entries.len() {
            let Some(entry) = self.entries.get(index).filter(|e| e.known == Name::Connection)
            else {
                continue;
            };
            for token in tokens(entry.value.of(buf)) {
                if token.eq_ignore_ascii_case(b"close") {
                    connection.close = true;
                } else if token.eq_ignore_ascii_case(b"keep-alive") {
                    connection.keep_alive = true;
                } else if token.eq_ignore_ascii_case(b"upgrade") {
                    connection.upgrade = true;
                } else {
                    nominated += 1;
                    if nominated > MAX_NOMINATED || Name::of(token).is_protected() {
                        return Err(BadNomination);
                    }
                    self.nominate(buf, token);
                }
            }
        }
        Ok(connection)
    }

    fn nominate(&mut self, buf: &[u8], token: &[u8]) {
        for entry in &mut self.entries {
            entry.hop_by_hop |= entry.name.of(buf).eq_ignore_ascii_case(token);
        }
    }
}

/// A field that must be alone is repeated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Repeated;

/// The elements of a comma-separated list.
pub(crate) fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

const MAX_NOMINATED: usize = 10;
