//! What a controller manager does on one machine: Deployments, ReplicaSets, Jobs, EndpointSlices,
//! service accounts, namespaces, garbage collection.
//!
//! Each controller is a pure function from the known objects to actions; one loop feeds them from
//! watches and performs what they want. Nothing here knows about the mesh.

mod action;
mod claim;
mod deployment;
mod endpoints;
mod event;
mod execute;
mod garbage;
mod job;
mod namespace;
mod objects;
mod pod;
mod queue;
mod replica_set;
mod run;
mod task;
mod watch;
mod world;

#[cfg(test)]
mod live_tests;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub use run::{RunError, run};
