//! What kubectl prints.
