//! Arguments of the commands that say what policies mean.

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, ValueEnum};
use palisade_policy::Verdict;
use serde::Deserialize;

use super::Format;

/// `explain`.
#[derive(Args, Clone, Debug)]
pub struct ExplainArgs {
    /// Manifest files or directories; `-` is standard input (default: the objects of the mesh)
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    pub files: Vec<PathBuf>,
    /// A request that was made, by its `x-request-id`, instead: what its sidecar decided, and why
    #[arg(long, value_name = "ID", conflicts_with_all = ["from", "to", "files"])]
    pub request: Option<String>,
    /// The pod that the request came to, `POD.NAMESPACE` or `deploy/NAME.NAMESPACE` (default: any)
    #[arg(long, value_name = "POD", requires = "request")]
    pub pod: Option<String>,
    /// The request.
    #[command(flatten)]
    pub ask: Ask,
    /// Print the smallest AuthorizationPolicy that would allow this request and no other, instead
    #[arg(long, conflicts_with = "request")]
    pub propose: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

/// A request to explain.
#[derive(Args, Clone, Debug)]
pub struct Ask {
    /// Caller: `NAMESPACE/SERVICE-ACCOUNT`, `none` for plaintext, `deploy/NAME.NAMESPACE` or a SPIFFE ID
    #[arg(long, value_name = "CALLER", required_unless_present = "request")]
    pub from: Option<String>,
    /// Workload or service: `NAME.NAMESPACE`, `deploy/NAME.NAMESPACE`, `svc/NAME.NAMESPACE`
    #[arg(long, value_name = "WORKLOAD", required_unless_present = "request")]
    pub to: Option<String>,
    /// Method
    #[arg(long, default_value = "GET")]
    pub method: String,
    /// Path with query, as the client sends it
    #[arg(long, default_value = "/")]
    pub path: String,
    /// Host (default: the name of the workload or service)
    #[arg(long)]
    pub host: Option<String>,
    /// Header field, `NAME: VALUE`
    #[arg(long = "header", value_name = "FIELD")]
    pub headers: Vec<String>,
    /// Port of the workload, or of the service in front of it (default: the first one)
    #[arg(long)]
    pub port: Option<u16>,
    /// Token that the request carries where the workload looks for it, verified with the keys in `jwks`
    #[arg(long, value_name = "TOKEN")]
    pub jwt: Option<String>,
    /// File with the keys (JWKS) that issuers serve, for RequestAuthentications without `jwks`
    #[arg(long, value_name = "FILE")]
    pub jwks: Option<PathBuf>,
    /// Claim of a valid token, `NAME=VALUE`; a value may be a JSON list or object
    #[arg(long = "claim", value_name = "CLAIM", conflicts_with = "jwt")]
    pub claims: Vec<String>,
    /// What the external authorizer says, if CUSTOM policies ask it (default: it is not known)
    #[arg(long, value_enum, value_name = "ANSWER")]
    pub custom: Option<Authorizer>,
    /// Address of the caller
    #[arg(long)]
    pub ip: Option<IpAddr>,
    /// A connection that is not HTTP
    #[arg(long)]
    pub tcp: bool,
}

/// What an external authorizer says.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Authorizer {
    /// It lets the request pass.
    Allow,
    /// It refuses the request.
    Deny,
}

impl From<Authorizer> for Verdict {
    fn from(said: Authorizer) -> Self {
        match said {
            Authorizer::Allow => Self::Allow,
            Authorizer::Deny => Self::Deny,
        }
    }
}

/// `check`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// Manifest files or directories; `-` is standard input (default: the objects of the mesh)
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Manifest files or directories, as with kubectl
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    pub files: Vec<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub output: CheckFormat,
    /// What makes the exit code 1
    #[arg(long, value_enum, default_value_t)]
    pub fail_on: FailOn,
}

/// Output formats of `check`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum CheckFormat {
    /// The place in its file, and what to do.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// Annotations of GitHub Actions.
    Github,
}

/// Which problems make `check` fail.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum FailOn {
    /// Any problem.
    #[default]
    Warning,
    /// Errors only.
    Error,
    /// None.
    Never,
}

pub(super) const CHECK_EXAMPLES: &str = "\
Examples:
  palisade check manifests/
  palisade check manifests/ -o sarif > palisade.sarif
  kustomize build overlays/prod | palisade check - -o github --fail-on error
  palisade check                                         the objects of the mesh

Every code is explained in docs/diagnostics.md. An object is spared one by an annotation:
  palisade.dev/ignore: PAL0103, PAL0115

Exit codes: 0 no problems, 1 problems, 2 usage or I/O.";

pub(super) const EXPLAIN_EXAMPLES: &str = "\
Examples:
  palisade explain --from shop/frontend --to backend.shop --path /orders
  palisade explain -f manifests/ --from none --to svc/backend.shop --port 80
  palisade explain -f manifests/ --from shop/frontend --to backend.shop \\
    --method POST --path '/a/../admin' --header 'x-tenant: blue' --claim iss=https://idp --claim sub=me
  palisade explain -f manifests/ --from shop/frontend --to backend.shop --path /admin --custom deny

  palisade explain -f manifests/ --from shop/frontend --to backend.shop --jwt $TOKEN --jwks keys.json

  palisade explain --request 84961386-6d84-4929-98bd-c5aee93b5c88 --pod deploy/backend.shop

  palisade explain --from shop/frontend --to backend.shop --path /orders --propose > allow.yaml

Exit codes: 0 the request is allowed, 1 it is denied, 2 usage or I/O; with --propose: 0 a policy is printed,
1 none is needed or none would help, 2 usage or I/O.";
