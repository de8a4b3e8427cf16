//! An explanation that may be logged.

use super::{Condition, Explanation};

impl Explanation {
    /// The same without what may be a secret: the query of the path, and the values of header fields,
    /// those in policies too.
    #[must_use]
    pub fn without_secrets(mut self) -> Self {
        let query = self.path.as_ref().and_then(|path| path.raw.split_once('?'));
        if let Some(query) = query.map(|(_, query)| format!("?{query}")) {
            self.replace_text(&query, "");
            if let Some(path) = &mut self.path {
                path.raw = path.raw.replace(&query, "");
                path.normalized.iter_mut().for_each(cut_query);
            }
        }
        let mut replaced = Vec::new();
        let nearest = self.nearest.iter_mut().flat_map(|nearest| &mut nearest.failed);
        for condition in self.because.iter_mut().chain(nearest) {
            if condition.attribute.starts_with("header ") {
                let hint = condition.hint.take().map(|hint| format!(" ({hint})"));
                replaced.extend(hint.map(|hint| (hint, String::new())));
                let clause = condition.clause();
                hide(condition);
                replaced.push((clause, condition.clause()));
            }
            if condition.attribute == "path with query" {
                condition.got.iter_mut().for_each(cut_query);
            }
        }
        for (old, new) in replaced {
            self.replace_text(&old, &new);
        }
        self
    }

    fn replace_text(&mut self, old: &str, new: &str) {
        self.sentence = self.sentence.replace(old, new);
        for layer in &mut self.layers {
            layer.text = layer.text.replace(old, new);
        }
    }
}

fn cut_query(path: &mut String) {
    path.truncate(path.find('?').unwrap_or(path.len()));
}

fn hide(condition: &mut Condition) {
    for value in condition.expected.iter_mut().chain(&mut condition.got) {
        HIDDEN.clone_into(value);
    }
}

const HIDDEN: &str = "(hidden)";
