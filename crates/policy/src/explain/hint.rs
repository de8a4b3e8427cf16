//! What may be the mistake in a condition that fails, judged by its values alone.

use super::{Condition, condition::Sense};

/// What may be the mistake, if the values look like one.
pub(super) fn hint(condition: &Condition) -> Option<String> {
    if condition.sense == Sense::NoneOf {
        return None;
    }
    let principals = condition.attribute == "principal";
    if let Some(value) = condition.expected.iter().find(|value| value.starts_with("spiffe://"))
        && principals
    {
        return Some(format!("principals have no `spiffe://`, so `{value}` never matches"));
    }
    let (expected, got) = closest(condition)?;
    let by_field = match condition.attribute.as_str() {
        "path" => path(expected, got),
        "principal" => principal(expected, got),
        "host" => host(expected, got),
        _ => None,
    };
    by_field.or_else(|| general(expected, got))
}

/// How far the values are from what the request has: 0 is the same, 1 nothing in common.
pub(super) fn distance(condition: &Condition) -> f64 {
    let pairs = pairs(condition).map(|(expected, got)| relative(expected, got));
    pairs.fold(1.0, f64::min)
}

fn closest(condition: &Condition) -> Option<(&str, &str)> {
    pairs(condition).min_by(|a, b| relative(a.0, a.1).total_cmp(&relative(b.0, b.1)))
}

fn pairs(condition: &Condition) -> impl Iterator<Item = (&str, &str)> {
    let got = &condition.got;
    condition
        .expected
        .iter()
        .flat_map(move |expected| got.iter().map(move |got| (expected.as_str(), got.as_str())))
}

fn path(expected: &str, got: &str) -> Option<String> {
    let bare = |path: &str| path.trim_end_matches('/').to_owned();
    if bare(expected) == bare(got) {
        return Some("they differ by the trailing slash, which counts".to_owned());
    }
    let inside = got.strip_prefix(&bare(expected)).is_some_and(|rest| rest.starts_with('/'));
    if inside && !expected.contains('*') {
        let prefix = bare(expected);
        return Some(format!("`{expected}` is that path only; `{prefix}/*` is what is below it"));
    }
    if expected.ends_with("/*") && expected.strip_suffix("/*") == Some(got) {
        return Some(format!("`{expected}` is what is below `{got}/`, not `{got}` itself"));
    }
    if got.contains("//") || got.to_ascii_lowercase().contains("%2f") {
        return Some("the path has slashes that this mesh does not merge or decode".to_owned());
    }
    if got.contains(';') {
        return Some("the path has a parameter (`;`), which counts".to_owned());
    }
    None
}

fn principal(expected: &str, got: &str) -> Option<String> {
    let [wanted, seen] = [expected, got].map(|text| text.split('/').collect::<Vec<_>>());
    let (
        [domain, "ns", namespace, "sa", account],
        [seen_domain, "ns", seen_namespace, "sa", seen_account],
    ) = (wanted.as_slice(), seen.as_slice())
    else {
        return (!expected.contains('*') && wanted.len() != 5)
            .then(|| "a principal is `TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`".to_owned());
    };
    let differing: Vec<String> = [
        ("trust domain", domain, seen_domain),
        ("namespace", namespace, seen_namespace),
        ("service account", account, seen_account),
    ]
    .into_iter()
    .filter(|(_, wanted, seen)| wanted != seen)
    .map(|(part, wanted, seen)| format!("the {part} (`{wanted}`, not `{seen}`)"))
    .collect();
    (differing.len() == 1).then(|| format!("they differ by {}", differing.join(", ")))
}

fn host(expected: &str, got: &str) -> Option<String> {
    let (bare, port) = got.rsplit_once(':')?;
    let same = expected.eq_ignore_ascii_case(bare);
    same.then(|| format!("the host has a port: add `{expected}:{port}` or `{expected}:*`"))
}

fn general(expected: &str, got: &str) -> Option<String> {
    if expected.eq_ignore_ascii_case(got) {
        return Some("they differ by case, which counts".to_owned());
    }
    if expected.trim() == got.trim() {
        return Some("they differ by blanks".to_owned());
    }
    let inner = expected.strip_prefix('*').or_else(|| expected.strip_suffix('*'));
    if inner.unwrap_or(expected).contains('*') && !expected.contains("{*") {
        return Some(format!("only a `*` at the start or the end of `{expected}` is a wildcard"));
    }
    (expected.len() > 3 && edits(expected, got) <= 2)
        .then(|| format!("is `{expected}` a typing error for `{got}`?"))
}

#[expect(clippy::cast_precision_loss, reason = "lengths of texts that people write")]
fn relative(one: &str, other: &str) -> f64 {
    let longest = one.chars().count().max(other.chars().count()).max(1);
    edits(one, other) as f64 / longest as f64
}

/// The edits between two texts. Long texts are cut: nobody mistypes those.
fn edits(one: &str, other: &str) -> usize {
    let cut = |text: &str| text.chars().take(MOST).collect::<String>();
    palisade_manifest::edit_distance(&cut(one), &cut(other))
}

const MOST: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_name_the_usual_mistakes() {
        let rows: Vec<String> = [
            ("path", "/admin", "/admin/"),
            ("path", "/api", "/api/orders"),
            ("path", "/api/*", "/api"),
            ("path", "/admin", "//admin"),
            ("path", "/admin", "/admin;a=b"),
            ("path", "/a/*/c", "/a/b/c"),
            ("path", "/orders", "/ordres"),
            ("path", "/orders", "/payments"),
            ("method", "get", "GET"),
            ("host", "shop.example", "shop.example:8080"),
            ("principal", "spiffe://cluster.local/ns/a/sa/b", "cluster.local/ns/a/sa/b"),
            ("principal", "cluster.local/ns/a/sa/b", "cluster.local/ns/x/sa/b"),
            ("principal", "prod/ns/a/sa/b", "cluster.local/ns/a/sa/b"),
            ("principal", "cluster.local/ns/a/sa/front", "cluster.local/ns/a/sa/frontend"),
            ("principal", "a/b", "cluster.local/ns/a/sa/b"),
        ]
        .into_iter()
        .map(|(attribute, expected, got)| {
            let condition = Condition::plain("f", attribute, expected, Some(got));
            let hint = condition.hint.unwrap_or_else(|| "-".to_owned());
            format!("{attribute} {expected} {got}: {hint}")
        })
        .collect();
        insta::assert_snapshot!(rows.join("\n"));
    }
}
