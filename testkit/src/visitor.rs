//! Somebody who looks at a console with curl, and keeps its cookies.

use std::process::Command;

use tempfile::TempDir;

use crate::Run;

/// A visitor; one that has not logged in is a stranger.
#[derive(Debug)]
pub struct Visitor {
    directory: TempDir,
}

impl Visitor {
    /// Somebody without cookies.
    ///
    /// # Panics
    /// When there is no place for the cookies.
    #[must_use]
    pub fn stranger() -> Self {
        Self { directory: TempDir::with_prefix("visitor-").unwrap() }
    }

    /// Somebody who has followed a login link, and the address that it is of.
    ///
    /// # Panics
    /// When it does not log in.
    #[must_use]
    pub fn logged_in(link: &str) -> (Self, String) {
        let (visitor, origin) = (Self::stranger(), link.split("/login").next().unwrap().to_owned());
        let page = visitor.ask(link);
        assert!(page.ends_with("\n200"), "{page}");
        (visitor, origin)
    }

    /// What a URL answers, and on a last line the HTTP status.
    ///
    /// # Panics
    /// When nothing does.
    #[must_use]
    pub fn ask(&self, url: &str) -> String {
        Run::new(self.curl().args(["-L", url])).ok()
    }

    /// What a page of the console at this origin gets for JSON that it posts, and on a last line the HTTP status.
    ///
    /// # Panics
    /// When nothing answers.
    #[must_use]
    pub fn post(&self, origin: &str, path: &str, json: &str) -> String {
        let origin_field = format!("origin: {origin}");
        let headers = ["-H", &origin_field, "-H", "content-type: application/json"];
        Run::new(self.curl().args(headers).args(["-d", json, &format!("{origin}{path}")])).ok()
    }

    /// curl, with the visitor's cookies.
    #[must_use]
    pub fn curl(&self) -> Command {
        let jar = self.directory.path().join("jar").display().to_string();
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-m", "10", "-b", &jar, "-c", &jar, "-w", "\n%{http_code}"]);
        curl
    }
}
