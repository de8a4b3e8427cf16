//! Rules that take more than one field, kind by kind.

use crate::{
    place::{Place, Report},
    schema::KindRef,
};

/// Checks an object of a kind.
pub(crate) fn check(_kind: KindRef, _place: &Place<'_>, _report: &mut Report) {}
