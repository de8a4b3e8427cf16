//! Trust domain aliases: a policy that names one trust domain of the mesh means all of them.
//!
//! Source: Istio `pilot/pkg/security/trustdomain/bundle.go` and `util.go`.

use palisade_types::{Mesh, StringPattern};

/// Rewrites the values of `principals`: each for every trust domain of the mesh, if it names one.
pub(super) fn expand_principals(values: &[String], mesh: &Mesh) -> Vec<String> {
    values.iter().flat_map(|value| expand_principal(value, mesh)).collect()
}

/// Rewrites the values of `trustDomains`: one of the mesh's stands for all of them.
pub(super) fn expand_trust_domains(values: &[String], mesh: &Mesh) -> Vec<String> {
    let mut expanded = Vec::new();
    for value in values {
        if mesh.trust_domains().any(|domain| domain.as_str() == value) {
            expanded.extend(mesh.trust_domains().map(ToString::to_string));
        } else {
            expanded.push(value.clone());
        }
    }
    expanded
}

/// Only values of five parts name a trust domain; `cluster.local` always means the mesh's own.
fn expand_principal(value: &str, mesh: &Mesh) -> Vec<String> {
    let unchanged = || vec![value.to_owned()];
    if value.split('/').count() != 5 {
        return unchanged();
    }
    let Some((domain, rest)) = value.split_once('/') else { return unchanged() };
    let of_mesh = domain == "cluster.local"
        || mesh.trust_domains().any(|own| match_each_other(domain, own.as_str()));
    if domain == "*" || !of_mesh {
        return unchanged();
    }
    let mut expanded: Vec<String> = Vec::new();
    for own in mesh.trust_domains() {
        let covered = domain.strip_prefix('*').is_some_and(|suffix| own.as_str().ends_with(suffix));
        let principal = if covered { value.to_owned() } else { format!("{own}/{rest}") };
        if !expanded.contains(&principal) {
            expanded.push(principal);
        }
    }
    expanded
}

/// Whether two names are equal, or one, read as a pattern, matches the other.
fn match_each_other(one: &str, other: &str) -> bool {
    StringPattern::new(one).matches(other.as_bytes())
        || StringPattern::new(other).matches(one.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mesh(domain: &str, aliases: &[&str]) -> Mesh {
        Mesh {
            trust_domain: domain.parse().unwrap(),
            trust_domain_aliases: aliases.iter().map(|alias| alias.parse().unwrap()).collect(),
            ..Mesh::default()
        }
    }

    #[test]
    fn a_principal_of_the_mesh_is_written_for_every_trust_domain() {
        let td1_td2 = mesh("td1", &["td2"]);
        for (value, expected) in [
            ("td1/ns/foo/sa/a", &["td1/ns/foo/sa/a", "td2/ns/foo/sa/a"][..]),
            ("td2/ns/foo/sa/*", &["td1/ns/foo/sa/*", "td2/ns/foo/sa/*"]),
            ("cluster.local/ns/foo/sa/a", &["td1/ns/foo/sa/a", "td2/ns/foo/sa/a"]),
            ("td2/ns/foo/*", &["td2/ns/foo/*"]),
            ("*/ns/foo/sa/a", &["*/ns/foo/sa/a"]),
            ("other/ns/foo/sa/a", &["other/ns/foo/sa/a"]),
            ("*1/ns/foo/sa/a", &["*1/ns/foo/sa/a", "td2/ns/foo/sa/a"]),
            ("td*/ns/foo/sa/a", &["td1/ns/foo/sa/a", "td2/ns/foo/sa/a"]),
            ("*", &["*"]),
        ] {
            assert_eq!(expand_principals(&[value.to_owned()], &td1_td2), expected, "{value}");
        }
    }

    #[test]
    fn a_trust_domain_of_the_mesh_stands_for_all() {
        let td1_td2 = mesh("td1", &["td2"]);
        let values = ["td2".to_owned(), "td*".to_owned()];
        assert_eq!(expand_trust_domains(&values, &td1_td2), ["td1", "td2", "td*"]);
    }
}
