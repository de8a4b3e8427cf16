//! Palisade.

pub mod normalize;
pub mod refusal;
