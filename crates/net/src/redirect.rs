//! What a pod with a sidecar redirects to it: an nftables script as a pure function, and its loading.
//!
//! The meaning is that of Istio's rules (`tools/istio-iptables/pkg/capture/run.go`):
//!
//! | connection | goes to |
//! | --- | --- |
//! | of an application, out of the pod | 15001 |
//! | of an application, to loopback or the pod's own address | where it wants to |
//! | of the sidecar, out of the pod | where it wants to |
//! | of the sidecar, to the pod's own address: an application calls its own service | 15006 |
//! | of the sidecar's inbound side (from 127.0.0.6), to the pod's own address | the application |
//! | into the pod, but to 15020, 15021 and 15090 | 15006 |

use crate::nft::{self, NftError};

/// By what a pod's rules know the sidecar's own sockets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KnownBy {
    /// Their mark, which nobody else in the pod can set: where all containers may have one user id.
    Mark,
    /// Their owner, user and group 1337: where the sidecar has no capability to set marks.
    Owner,
}

impl KnownBy {
    /// A match of nftables that holds for the sidecar's sockets. Of an owner, both ids have to be right:
    /// a group alone is also had by who runs a set-group-id program from a volume with `fsGroup: 1337`.
    fn matching(self) -> String {
        match self {
            Self::Mark => format!("meta mark {ID}"),
            Self::Owner => format!("meta skuid {ID} meta skgid {ID}"),
        }
    }
}

/// Rules for the network namespace of a pod with a sidecar, in both address families.
///
/// Nobody else answers in the sidecar's place: answers of its capture ports leave only with its mark or
/// owner. An answer without an owner does not either. That is the kernel's to a flood of connections
/// (a SYN cookie), which a program could bring about on a port of its own to slip through.
#[must_use]
pub fn script(sidecar: KnownBy) -> String {
    let sidecar = sidecar.matching();
    format!(
        "\
table inet palisade
delete table inet palisade
table inet palisade {{
  chain output {{
    type nat hook output priority -100; policy accept;
    oifname \"lo\" ip saddr 127.0.0.6 return
    oifname \"lo\" ip6 saddr ::6 return
    oifname \"lo\" ip daddr != 127.0.0.1 {sidecar} meta l4proto tcp redirect to :15006
    oifname \"lo\" ip6 daddr != ::1 {sidecar} meta l4proto tcp redirect to :15006
    oifname \"lo\" return
    {sidecar} return
    meta l4proto tcp redirect to :15001
  }}
  chain prerouting {{
    type nat hook prerouting priority -100; policy accept;
    iifname \"lo\" return
    tcp dport {{ 15020, 15021, 15090 }} return
    meta l4proto tcp redirect to :15006
  }}
  chain answers {{
    {sidecar} return
    drop
  }}
  chain impostors {{
    type filter hook output priority -150; policy accept;
    tcp flags & (syn | ack) == syn | ack tcp sport {{ 15001, 15006 }} jump answers
  }}
}}
"
    )
}

/// Programs the redirect in the calling thread's network namespace, in place of one that is there.
///
/// # Errors
/// When `nft` is missing or refuses, as it does without `CAP_NET_ADMIN`; nothing has changed then.
pub fn program(sidecar: KnownBy) -> Result<(), NftError> {
    nft::load(&script(sidecar))
}

/// Mark, user and group of the sidecar.
const ID: u32 = 1337;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_redirects_all_tcp_but_the_sidecars_own() {
        insta::assert_snapshot!("by_mark", script(KnownBy::Mark));
        insta::assert_snapshot!("by_owner", script(KnownBy::Owner));
    }

    #[test]
    fn who_the_sidecar_is_does_not_change_the_rules() {
        let anonymous = |sidecar: KnownBy| script(sidecar).replace(&sidecar.matching(), "sidecar");
        assert_eq!(anonymous(KnownBy::Mark), anonymous(KnownBy::Owner));
        assert_eq!(anonymous(KnownBy::Mark).matches("sidecar").count(), 4);
    }
}
