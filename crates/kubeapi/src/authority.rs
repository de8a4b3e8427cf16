//! The API's own certificates: an authority in the state directory, a server certificate, and
//! client certificates for those who may do everything.
//!
//! This authority has nothing to do with the mesh's: it proves who may change policies, not which
//! workload is which.

use std::{
    fs,
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use palisade_pki::{Authority, AuthorityError, Credential, IssueError, Subject};
use serde_json::json;

use crate::{
    auth::{COMPONENTS, MASTERS},
    options::ApiUser,
};

/// How long server and client certificates last; they are made anew at every start, and the
/// server's again before it ends.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// Names of the API server inside the mesh.
const NAMES: [&str; 5] = [
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiAuthorityError {
    /// A file.
    #[error("can't use `{path}`: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// Its key or certificate.
    #[error("the API's certificate authority in `{path}`: {source}")]
    Authority {
        /// The directory.
        path: PathBuf,
        /// What happened.
        source: AuthorityError,
    },
    /// A certificate is not issued.
    #[error("the API's certificates: {0}")]
    Issue(IssueError),
}

/// The authority of the API.
#[derive(Debug)]
pub(crate) struct ApiAuthority(Authority);

impl ApiAuthority {
    /// Loads the authority of a directory, or makes one.
    pub(crate) fn open(directory: &Path) -> Result<Self, ApiAuthorityError> {
        let certificate = directory.join("ca.crt");
        let key = directory.join("ca.key");
        let io_error = |path: &Path| {
            let path = path.to_owned();
            move |source| ApiAuthorityError::Io { path, source }
        };
        let fail = |source| ApiAuthorityError::Authority { path: directory.to_owned(), source };
        match fs::read_to_string(&key) {
            Ok(key) => {
                let chain = fs::read_to_string(&certificate).map_err(io_error(&certificate))?;
                Authority::from_pem(&chain, &key).map(Self).map_err(fail)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let subject = Subject {
                    common_name: Some("palisade-kubernetes-api".to_owned()),
                    organization: None,
                };
                let authority = Authority::generate(&subject, Timestamp::now()).map_err(fail)?;
                // The certificate first: a key without it would be taken for a whole authority.
                write(&certificate, &authority.chain_pem(), 0o644)
                    .map_err(io_error(&certificate))?;
                write(&key, &authority.key_pem(), 0o600).map_err(io_error(&key))?;
                Ok(Self(authority))
            }
            Err(error) => Err(io_error(&key)(error)),
        }
    }

    /// The certificate that clients trust, as PEM.
    pub(crate) fn root_pem(&self) -> String {
        self.0.root_pem()
    }

    /// A certificate for the API server.
    pub(crate) fn server(&self, service: Ipv4Addr) -> Result<Credential, ApiAuthorityError> {
        let addresses: [IpAddr; 3] =
            [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into(), service.into()];
        self.0
            .server_credential(&NAMES, &addresses, LIFETIME, Timestamp::now())
            .map_err(ApiAuthorityError::Issue)
    }

    /// A kubeconfig with a client certificate for a user.
    pub(crate) fn kubeconfig(
        &self,
        user: ApiUser,
        server_url: &str,
    ) -> Result<String, ApiAuthorityError> {
        let group = if user == ApiUser::Admin { MASTERS } else { COMPONENTS };
        let subject = Subject {
            common_name: Some(user.name().to_owned()),
            organization: Some(group.to_owned()),
        };
        let credential = self
            .0
            .client_credential(&subject, LIFETIME, Timestamp::now())
            .map_err(ApiAuthorityError::Issue)?;
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "palisade", "cluster": {
                "server": server_url,
                "certificate-authority-data": STANDARD.encode(self.root_pem()),
            }}],
            "users": [{"name": user.name(), "user": {
                "client-certificate-data": STANDARD.encode(&credential.certificate_pem),
                "client-key-data": STANDARD.encode(credential.key_pem.as_bytes()),
            }}],
            "contexts": [{"name": "palisade", "context": {
                "cluster": "palisade", "user": user.name(),
            }}],
            "current-context": "palisade",
        });
        // JSON is YAML, and needs no writer for it.
        Ok(format!("{config:#}\n"))
    }
}

fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_authority_outlives_a_restart_and_its_key_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let first = ApiAuthority::open(dir.path()).unwrap().root_pem();
        assert_eq!(ApiAuthority::open(dir.path()).unwrap().root_pem(), first);
        let mode = fs::metadata(dir.path().join("ca.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
