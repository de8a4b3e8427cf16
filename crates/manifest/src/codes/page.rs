//! The reference of all codes as a page.

use super::{Code, codes};

/// docs/diagnostics.md.
#[must_use]
pub fn page() -> String {
    let mut page = String::from(HEAD);
    for code in codes() {
        page.push_str(&entry(code));
    }
    page
}

fn entry(code: &Code) -> String {
    let mut entry = format!("\n## {}\n\n{}.\n", code.id, capitalized(code.title));
    let example = code.example;
    if example.contains('\n') {
        entry.push_str(&format!("\n```yaml\n{example}\n```\n"));
    } else {
        entry.push_str(&format!("\nExample: `{example}`\n"));
    }
    if !code.text.is_empty() {
        entry.push_str(&format!("\n{}\n", code.text));
    }
    if !code.also.is_empty() {
        entry.push_str(&format!("\nElsewhere: {}.\n", code.also.join(", ")));
    }
    entry
}

fn capitalized(text: &str) -> String {
    match text.split_at_checked(1) {
        Some((first, rest)) => format!("{}{rest}", first.to_uppercase()),
        None => text.to_owned(),
    }
}

const HEAD: &str = "\
# Diagnostics

What `palisade apply`, the API and `palisade check` say about manifests. Codes below PAL0100 are problems of
form, and `apply` and the API find them, too. Codes from PAL0101 on are problems of meaning: the manifests
are valid, and do something else than they seem to. `palisade check` finds them by looking at all objects
together.

An object is spared a code by an annotation: `palisade.dev/ignore: PAL0103, PAL0115`.
";

#[cfg(test)]
mod tests {
    /// Written by `UPDATE_DOCS=1 cargo test -p palisade-manifest the_page`.
    #[test]
    fn the_page_in_the_docs_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/diagnostics.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, super::page()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), super::page());
    }
}
