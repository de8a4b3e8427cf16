//! Problems of meaning: manifests that are taken as they are and do something else than they seem to.

use super::{Cause, Code};

macro_rules! meanings {
    ($($name:ident $id:literal $title:literal [$($also:literal)*] $example:literal $text:literal)*) => {
        $(
            #[doc = $title]
            pub const $name: &Code = &Code {
                id: $id,
                title: $title,
                example: $example,
                cause: Cause::Invalid,
                text: $text,
                also: &[$($also),*],
            };
        )*
        pub(super) static CODES: &[&Code] = &[$($name),*];
    };
}

meanings! {
    ALLOWS_NOBODY "PAL0101" "an ALLOW policy that allows nobody" []
        "spec:\n  action: ALLOW\n  rules: []"
        "`rules` is written but empty, so nothing is allowed to the workloads that it selects. \
         Write `rules: [{}]` to allow everything, or `spec: {}` to say that nothing is meant to be."
    ALLOWS_ALL "PAL0102" "an ALLOW rule that allows everybody everything" []
        "rules:\n- {}"
        "A rule without conditions matches every request, also plaintext from outside of the mesh, \
         so that all other ALLOW policies for the same workloads have no effect. Name callers or \
         operations, or remove the other policies."
    ONE_DASH "PAL0103" "one dash more than meant: alternatives instead of conditions" []
        "rules:\n- from:\n  - source: {principals: [cluster.local/ns/a/sa/b]}\n- to:\n  - operation: {methods: [GET]}"
        "Entries of a list are alternatives, fields of one entry must hold together. Two rules, one \
         with `from` only and one with `to` only, allow the caller everything and everybody the \
         operation. Remove the second dash, so that both stand in one rule or one entry."
    CONTRADICTION "PAL0104" "conditions that exclude one another" []
        "source:\n  principals: [cluster.local/ns/a/sa/b]\n  namespaces: [c]"
        "No request meets them all, so the rule never matches: an ALLOW rule allows nothing, a DENY \
         rule denies nothing. Where alternatives are meant, write two entries."
    DUPLICATE_RULE "PAL0105" "a rule that occurs twice" []
        "rules:\n- {from: [{source: {namespaces: [a]}}]}\n- {from: [{source: {namespaces: [a]}}]}"
        "The second one has no effect. It may have been copied to be changed."
    TRUST_DOMAIN "PAL0106" "a principal of a trust domain that the mesh does not have" ["KIA0106"]
        "principals: [prod.example/ns/a/sa/b]"
        "Certificates of this mesh have its own trust domain or an alias of it, so the value never \
         matches. In principals `cluster.local` always means the mesh's own. The trust domain is read from \
         ConfigMap `istio` in the root namespace if it is among the manifests."
    NO_NAMESPACE "PAL0107" "a namespace that does not exist" ["IST0101" "KIA0101"]
        "namespaces: [paymnets]"
        "Neither a Namespace nor a workload of this name is among what was checked, so no caller is \
         in it."
    NO_ACCOUNT "PAL0108" "a service account that no workload has" ["KIA0106"]
        "principals: [cluster.local/ns/shop/sa/fronted]"
        "There is no such ServiceAccount and no workload runs as it, so no caller has this identity."
    NOT_A_PRINCIPAL "PAL0109" "a principal of a form that no identity has" []
        "principals: [shop/frontend]"
        "Identities are `TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`. For the short form use \
         `serviceAccounts: [NAMESPACE/NAME]`."
    PLAINTEXT_CALLER "PAL0110" "an identity is asked for where plaintext is taken" ["KIA0105"]
        "mtls: {mode: PERMISSIVE}  # and: principals: [...]"
        "A caller that speaks plaintext has no identity, so it is refused by this rule although the \
         port takes plaintext; with DISABLE nobody has one. Set mTLS to STRICT, so that what is \
         meant is also what is enforced."
    PLAINTEXT_SLIPS "PAL0111" "a rule that plaintext slips past" ["KIA0105"]
        "action: DENY\nrules:\n- from: [{source: {notNamespaces: [a]}}, {source: {principals: [...]}}]"
        "Without an identity every positive identity field is false and every `not` field is true: \
         plaintext is not denied by a DENY rule that names callers, and is let in by an ALLOW rule \
         that only excludes some. Set mTLS to STRICT."
    HTTP_ON_TCP "PAL0112" "HTTP conditions on a port that speaks TCP" []
        "to: [{operation: {methods: [GET]}}]  # and a port named tcp-db"
        "On a TCP port an ALLOW rule with any HTTP condition allows nothing, and a DENY rule denies \
         more: its HTTP conditions count as true. Name the port `http-...` if it speaks HTTP, or \
         limit the rule by `ports`."
    NO_AUTHENTICATION "PAL0113" "token conditions without a RequestAuthentication" []
        "requestPrincipals: ['*']"
        "Tokens are only looked at where a RequestAuthentication applies. Without one no request has \
         a request principal or claims: an ALLOW rule allows nothing, a `not` condition always holds."
    PATH_NEVER "PAL0114" "a path that no request has after normalisation" []
        "paths: ['/%41dmin', 'admin', '/a?b=c', '/x/../y']"
        "Paths are normalised before they are compared, have no query and begin with a slash. The \
         value never matches."
    PATH_SLIPS "PAL0115" "a path that is denied exactly, and reachable by another spelling" []
        "action: DENY\nrules: [{to: [{operation: {paths: [/admin]}}]}]"
        "Many servers take `/admin/`, `/admin;x=y` or, where slashes are not merged and decoded, \
         `//admin` and `%2fadmin` for the same path, and no operator of a path template takes a \
         bracket. Deny `/admin*` too, or better: allow what is needed instead of denying \
         what is not; set `pathNormalization: {normalization: DECODE_AND_MERGE_SLASHES}` in the mesh \
         config."
    HOST_PORT "PAL0116" "a host without its port" []
        "hosts: [shop.example]"
        "Hosts are compared whole, with the port if the client writes one: `shop.example:8080` is \
         another host. Add `shop.example:*`."
    SELECTS_NOTHING "PAL0117" "a selector that matches no workload" ["IST0127" "KIA0004"]
        "selector: {matchLabels: {app: backned}}"
        "The policy applies to nothing. Labels are those of the pods, not of the Deployment or the \
         Service, and the policy must be in the namespace of the pods or in the root namespace."
    TWO_MODES "PAL0118" "two PeerAuthentications for the same workloads" ["KIA0002" "KIA0003"]
        "kind: PeerAuthentication  # twice in one namespace, without selector"
        "Only the oldest counts, whole; the other one has no effect."
    NO_SIDECAR "PAL0119" "a caller that is named, and has no sidecar to be known by" ["IST0103"]
        "sidecar.istio.io/inject: \"false\"  # on a workload that a policy allows"
        "Identities come from sidecars. A caller without one speaks plaintext: it is reset by STRICT, \
         and matches no rule that names it or its namespace. Let a sidecar be injected."
    PROBE "PAL0120" "a probe or scrape that is refused" []
        "sidecar.istio.io/rewriteAppHTTPProbers: \"false\""
        "Probes of the kubelet and scrapes come as plaintext without identity. With this annotation \
         they go straight to the port, where mTLS or an ALLOW policy refuses them. Remove the \
         annotation, so that the sidecar answers them, or allow their path."
    TAKEN_BACK "PAL0121" "an ALLOW rule that a DENY policy takes back" []
        "action: DENY\nrules: [{}]  # and an ALLOW policy for the same workloads"
        "Policies do not override each other: all that apply are asked, and DENY always wins, be its \
         policy for the workload, the namespace or the mesh. To deny all but what is allowed, write \
         `spec: {}`: an ALLOW policy without rules, to which others add."
    SERVICE_PORT "PAL0122" "a port of the Service, where the workload's is meant" []
        "ports: ['80']  # and a Service with port 80 and targetPort 8080"
        "Policies are enforced by the sidecar of the workload, which sees the port that the Service \
         leads to. The value never matches: an ALLOW rule allows nothing, a DENY rule denies nothing."
    CLIENT_PLAINTEXT "PAL0123" "clients that are told to speak plaintext to what takes mTLS only" ["KIA0207" "KIA0208"]
        "trafficPolicy: {tls: {mode: DISABLE}}  # for a host whose workloads are STRICT"
        "A DestinationRule with TLS mode DISABLE takes the identity from its clients, and a workload in \
         mode STRICT resets their connections. Remove `tls`, as sidecars speak mTLS by themselves, or \
         write `mode: ISTIO_MUTUAL`."
    METHOD_CASE "PAL0124" "a method in lower case" []
        "methods: [get]"
        "Methods are upper case and compared as they are written. The value never matches: an ALLOW rule \
         allows nothing, a DENY rule denies nothing."
}
