//! Scenarios with real processes: a mesh of its own for each test, real kubectl, curl in real pods.
//!
//! Everything here panics with what was run and what it printed, since that is what a failing test has
//! to show. Waiting is for a condition with a deadline, never for a time.

mod browser;
mod command;
mod load;
mod mesh;
mod outside;
mod processes;
mod prometheus;
mod visitor;

pub use command::{Run, eventually, python_packages, repository, tool};
pub use load::{Answers, Load};
pub use mesh::{Mesh, Starting};
pub use outside::{Outside, Server};
pub use processes::signal;
pub use prometheus::Prometheus;
pub use visitor::Visitor;
