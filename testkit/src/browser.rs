//! The console of a mesh, looked at with a real browser (web/e2e).

use std::process::Command;

use crate::{Mesh, Run, repository};

impl Mesh {
    /// A link that logs in to the console, once.
    #[must_use]
    pub fn console_link(&self) -> String {
        let link = self.palisade(&["console"]).ok().trim().to_owned();
        assert!(link.starts_with("http://127.0.0.1:") && link.contains("/login?token="), "{link}");
        link
    }

    /// Looks at the console as a script of web/e2e does; screenshots go to target/console.
    ///
    /// # Panics
    /// When something is not as the script expects.
    pub fn look(&self, script: &str) {
        let run = Run::new(
            Command::new("node")
                .arg(repository().join("web/e2e").join(script))
                .env("LINK", self.console_link())
                .env("OUT", repository().join("target/console"))
                .env("PALISADE", self.binary())
                .env("STATE", self.state()),
        );
        assert!(run.code == 0, "{run}\n(the pages and the browser come with `make pages tools`)");
    }
}
