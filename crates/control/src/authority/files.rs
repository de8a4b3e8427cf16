//! The rules of an authority's files, wherever they are kept: what they mean, and what to change in which order.
//! Pure, so that a crash after any change can be tried.

use std::{collections::BTreeMap, sync::Arc};

use palisade_pki::{Authority, AuthorityError, TrustBundle};

use super::{AuthorityFilesError, Held, Rotation};

/// Files by name, and where they are.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Files {
    /// For people.
    pub(super) place: String,
    pub(super) texts: BTreeMap<String, String>,
}

/// A change of one file. Edits are made in their order; where each is made by itself, a crash leaves the first of
/// them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Edit {
    Write {
        name: String,
        text: String,
    },
    /// Takes the place of the other.
    Rename {
        from: String,
        to: String,
    },
    Remove {
        name: String,
    },
}

impl Edit {
    fn write(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self::Write { name: name.into(), text: text.into() }
    }

    fn remove(name: impl Into<String>) -> Self {
        Self::Remove { name: name.into() }
    }
}

/// Makes it the authority, where there is none or one with the same root.
pub(crate) fn install(own: &Held) -> Vec<Edit> {
    save("", own)
}

impl Files {
    /// Whether there is no authority, nor a part of one.
    pub(crate) fn is_empty(&self) -> bool {
        !self.has(KEY) && !self.has(CERTIFICATE)
    }

    pub(crate) fn edit(&mut self, edits: &[Edit]) {
        for edit in edits {
            match edit {
                Edit::Write { name, text } => {
                    self.texts.insert(name.clone(), text.clone());
                }
                Edit::Rename { from, to } => {
                    if let Some(text) = self.texts.remove(from) {
                        self.texts.insert(to.clone(), text);
                    }
                }
                Edit::Remove { name } => {
                    self.texts.remove(name);
                }
            }
        }
    }

    /// What an interrupted step left, put in order.
    pub(crate) fn tidy(&self) -> Result<Vec<Edit>, AuthorityFilesError> {
        let leftovers = |names: &[String]| {
            let left = names.iter().filter(|name| self.has(name));
            left.map(|name| Edit::remove(name.as_str())).collect()
        };
        let old_roots = OLD_ROOTS.to_owned();
        match self.step() {
            "" => {
                let [a, b, c] = NAMES.map(|name| format!("{NEXT}{name}"));
                Ok(leftovers(&[a, b, c, old_roots]))
            }
            "trusting" => Ok(Vec::new()),
            "signing" => Ok(self.promote()),
            "leaving" => Ok(leftovers(&[old_roots])),
            step => {
                Err(AuthorityFilesError::Step { place: self.place.clone(), step: step.to_owned() })
            }
        }
    }

    /// The authority, and how far a rotation is; of files that are tidy.
    pub(crate) fn load(&self) -> Result<(Held, Rotation), AuthorityFilesError> {
        let rotation = match self.step() {
            "trusting" => Rotation::Trusting(self.held(NEXT)?),
            "signing" => Rotation::Signing(self.roots(OLD_ROOTS)?),
            "leaving" => Rotation::Leaving,
            _ => Rotation::Settled,
        };
        Ok((self.held("")?, rotation))
    }

    /// The step to `rotation`, whose authority or roots are kept first.
    pub(crate) fn turn(&self, rotation: &Rotation) -> Vec<Edit> {
        let mut edits = match rotation {
            Rotation::Trusting(next) => save(NEXT, next),
            Rotation::Signing(old) => vec![Edit::write(OLD_ROOTS, old.to_pem())],
            Rotation::Settled | Rotation::Leaving => Vec::new(),
        };
        edits.push(match rotation.step() {
            Some(step) => Edit::write(ROTATION, step),
            None => Edit::remove(ROTATION),
        });
        match rotation {
            Rotation::Signing(_) => edits.extend(self.promote()),
            Rotation::Leaving => edits.push(Edit::remove(OLD_ROOTS)),
            Rotation::Settled | Rotation::Trusting(_) => {}
        }
        edits
    }

    /// Makes the next authority ours, as far as it is not.
    fn promote(&self) -> Vec<Edit> {
        let next = NAMES.map(|name| (format!("{NEXT}{name}"), name.to_owned()));
        let there = next.into_iter().filter(|(from, _)| self.has(from));
        there.map(|(from, to)| Edit::Rename { from, to }).collect()
    }

    fn step(&self) -> &str {
        self.text(ROTATION).map(str::trim).unwrap_or_default()
    }

    fn held(&self, prefix: &str) -> Result<Held, AuthorityFilesError> {
        let [key_name, certificate_name, roots_name] = NAMES.map(|name| format!("{prefix}{name}"));
        let half = |present: &str, missing: &str| AuthorityFilesError::Half {
            place: self.place.clone(),
            present: present.to_owned(),
            missing: missing.to_owned(),
        };
        let (key, certificate) = match (self.text(&key_name), self.text(&certificate_name)) {
            (Some(key), Some(certificate)) => (key, certificate),
            (None, _) => return Err(half(&certificate_name, &key_name)),
            (Some(_), None) => return Err(half(&key_name, &certificate_name)),
        };
        let unusable =
            |source| AuthorityFilesError::Authority { place: self.place.clone(), source };
        let authority = Authority::from_pem(certificate, key).map_err(unusable)?;
        let own = TrustBundle::from_pem(&authority.root_pem()).map_err(AuthorityError::Roots);
        let mut roots = own.map_err(unusable)?;
        if self.has(&roots_name) {
            roots = roots.and(&self.roots(&roots_name)?);
        }
        Ok(Held { authority: Arc::new(authority), roots })
    }

    fn roots(&self, name: &str) -> Result<TrustBundle, AuthorityFilesError> {
        let missing =
            AuthorityFilesError::Missing { place: self.place.clone(), name: name.to_owned() };
        TrustBundle::from_pem(self.text(name).ok_or(missing)?).map_err(|source| {
            AuthorityFilesError::Roots { place: self.place.clone(), name: name.to_owned(), source }
        })
    }

    fn has(&self, name: &str) -> bool {
        self.texts.contains_key(name)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }
}

pub(super) fn save(prefix: &str, held: &Held) -> Vec<Edit> {
    let [key, certificate, roots] = NAMES.map(|name| format!("{prefix}{name}"));
    vec![
        Edit::write(roots, held.roots.to_pem()),
        Edit::write(certificate, held.authority.chain_pem()),
        Edit::write(key, held.authority.key_pem().as_str()),
    ]
}

/// Whether a file holds a private key.
pub(super) fn is_key(name: &str) -> bool {
    name.ends_with(KEY)
}

/// Every file that there may be.
pub(super) fn all_names() -> impl Iterator<Item = String> {
    let own = NAMES.map(str::to_owned);
    let next = NAMES.map(|name| format!("{NEXT}{name}"));
    own.into_iter().chain(next).chain([OLD_ROOTS.to_owned(), ROTATION.to_owned()])
}

/// The files of an authority. The key is the last that is written, and the first that is put in its place.
const NAMES: [&str; 3] = [KEY, CERTIFICATE, "root-cert.pem"];
const KEY: &str = "ca-key.pem";
const CERTIFICATE: &str = "ca-cert.pem";
pub(super) const NEXT: &str = "next-";
pub(super) const OLD_ROOTS: &str = "old-root-cert.pem";
pub(super) const ROTATION: &str = "rotation";

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn held() -> Held {
        Held::generate(Timestamp::now()).unwrap()
    }

    fn opened(files: &Files) -> (Held, Rotation) {
        let mut files = files.clone();
        let tidied = files.tidy().unwrap();
        files.edit(&tidied);
        assert_eq!(files.tidy().unwrap(), [], "tidy is tidy");
        files.load().unwrap()
    }

    /// Signer and step.
    fn facts((own, rotation): &(Held, Rotation)) -> (String, Option<&'static str>) {
        (own.authority.fingerprint(), rotation.step())
    }

    #[test]
    fn a_rotation_that_dies_at_any_file_is_at_the_step_before_or_after() {
        let (old, next) = (held(), held());
        let mut files = Files::default();
        files.edit(&install(&old));
        for step in [
            Rotation::Trusting(next.clone()),
            Rotation::Signing(old.roots.clone()),
            Rotation::Leaving,
            Rotation::Settled,
        ] {
            let edits = files.turn(&step);
            let mut done = files.clone();
            done.edit(&edits);
            let (before, after) = (facts(&opened(&files)), facts(&opened(&done)));
            assert_eq!(after.1, step.step());
            let mut taken = false;
            for made in 0..=edits.len() {
                let mut crashed = files.clone();
                crashed.edit(&edits[..made]);
                let found = facts(&opened(&crashed));
                taken |= found == after;
                assert_eq!(found, if taken { after.clone() } else { before.clone() }, "{made}");
            }
            files = done;
        }
        let (own, _) = opened(&files);
        assert_eq!(own.roots, next.roots);
        assert_eq!(files.texts.len(), 3, "nothing is left: {:?}", files.texts.keys());
    }

    #[test]
    fn a_first_authority_that_dies_half_written_is_never_another_one() {
        let edits = install(&held());
        for made in 0..edits.len() {
            let mut crashed = Files::default();
            crashed.edit(&edits[..made]);
            // Roots alone are no authority, and nobody has been told of them.
            assert!(crashed.is_empty() || crashed.load().is_err(), "{made}");
        }
    }
}
