//! Addresses of services: each gets one that no other has, and keeps it.

use std::{collections::HashSet, net::Ipv4Addr};

use serde_json::{Value, json};
use tokio::sync::OwnedMutexGuard;

use crate::{
    api::{Api, Call, ServiceRange},
    ids, object,
    status::{ApiError, Cause},
};

/// Held until the service is stored, so that no two get the same address.
#[derive(Debug)]
pub(crate) struct Allocation {
    _guard: Option<OwnedMutexGuard<()>>,
}

/// Gives a service its address, if it is one that has an address.
pub(crate) async fn allocate(
    api: &Api,
    call: &Call,
    old: Option<&Value>,
    service: &mut Value,
) -> Result<Allocation, ApiError> {
    if call.resource.storage != "services" || !call.path.subresource.is_empty() {
        return Ok(Allocation { _guard: None });
    }
    if object::text(service, "/spec/type") == "ExternalName" {
        let spec = object::section(service, "spec");
        spec.shift_remove("clusterIP");
        spec.shift_remove("clusterIPs");
        return Ok(Allocation { _guard: None });
    }
    let guard = api.allocating.clone().lock_owned().await;
    let wanted = match object::text(service, "/spec/clusterIP") {
        "" => object::text(service, "/spec/clusterIPs/0"),
        address => address,
    };
    let kept = old.is_some_and(|old| object::text(old, "/spec/clusterIP") == wanted);
    let address = match wanted {
        "None" => "None".to_owned(),
        "" => free(api.services, &taken(api))?.to_string(),
        wanted if kept => wanted.to_owned(),
        wanted => asked_for(api, call, service, wanted)?,
    };
    let spec = object::section(service, "spec");
    spec.insert("clusterIP".to_owned(), json!(address));
    spec.insert("clusterIPs".to_owned(), json!([address]));
    Ok(Allocation { _guard: Some(guard) })
}

fn taken(api: &Api) -> HashSet<Ipv4Addr> {
    let (_, services) = api.store.list("services", None);
    services
        .iter()
        .filter_map(|service| object::text(&service.value, "/spec/clusterIP").parse().ok())
        .collect()
}

fn asked_for(api: &Api, call: &Call, service: &Value, wanted: &str) -> Result<String, ApiError> {
    let refuse = |rule: &str| {
        let cause = Cause::invalid("spec.clusterIPs", &json!([wanted]), rule);
        ApiError::invalid(&call.resource, object::name(service), &[cause])
    };
    let address: Ipv4Addr =
        wanted.parse().map_err(|_| refuse("must be a valid IPv4 address, `None` or empty"))?;
    if !contains(api.services, address) {
        return Err(refuse(&format!(
            "failed to allocate IP {address}: the provided IP is not in the valid range {}/{}",
            api.services.base, api.services.prefix
        )));
    }
    if taken(api).contains(&address) {
        return Err(refuse(&format!(
            "failed to allocate IP {address}: provided IP is already allocated"
        )));
    }
    Ok(address.to_string())
}

/// How many addresses the range has.
fn size(range: ServiceRange) -> u32 {
    1u32.checked_shl(32 - u32::from(range.prefix)).unwrap_or(u32::MAX)
}

fn contains(range: ServiceRange, address: Ipv4Addr) -> bool {
    let offset = u32::from(address).wrapping_sub(u32::from(range.base));
    offset > 0 && offset < size(range) - 1
}

/// A free address, from a random start; the first 16 are for those who ask for one.
fn free(range: ServiceRange, taken: &HashSet<Ipv4Addr>) -> Result<Ipv4Addr, ApiError> {
    const RESERVED: u32 = 16;
    let mut random = [0u8; 4];
    ids::fill(&mut random)?;
    let usable = size(range).saturating_sub(RESERVED + 1);
    if usable == 0 {
        return Err(ApiError::internal("the range of service addresses is too small"));
    }
    let start = u32::from_be_bytes(random) % usable;
    (0..usable)
        .map(|step| RESERVED + (start + step) % usable)
        .map(|offset| Ipv4Addr::from(u32::from(range.base) + offset))
        .find(|address| !taken.contains(address))
        .ok_or_else(|| ApiError::internal("failed to allocate a serviceIP: range is full"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: ServiceRange = ServiceRange { base: Ipv4Addr::new(10, 96, 0, 0), prefix: 27 };

    #[test]
    fn every_address_is_given_once_until_there_are_none() {
        let mut taken = HashSet::new();
        while let Ok(address) = free(RANGE, &taken) {
            assert!(contains(RANGE, address), "{address}");
            assert!(taken.insert(address), "{address}");
        }
        assert_eq!(taken.len(), 15);
    }

    #[test]
    fn the_ends_of_the_range_are_nobodys() {
        assert!(!contains(RANGE, Ipv4Addr::new(10, 96, 0, 0)));
        assert!(contains(RANGE, Ipv4Addr::new(10, 96, 0, 1)));
        assert!(!contains(RANGE, Ipv4Addr::new(10, 96, 0, 31)));
        assert!(!contains(RANGE, Ipv4Addr::new(10, 95, 255, 255)));
    }
}
