//! The tables, one file for each part of the API.
//!
//! Kubernetes' fields follow API version 1.33, Istio's follow 1.31; what is said about support is
//! ours. Fields that are refused have no tables of their own behind them.

pub(super) mod admission;
pub(super) mod apps;
pub(super) mod batch;
mod container;
pub(super) mod core;
pub(super) mod crd;
pub(super) mod istio;
pub(super) mod mesh;
mod meta;
pub(super) mod pod;
pub(super) mod records;
mod schedule;
pub(super) mod service;
pub(super) mod service_entry;
mod status;
pub(super) mod telemetry;
pub(super) mod virtual_service;
mod volume;
