//! Which cluster a command talks to, and as whom: that of `--kubeconfig`; else the mesh of this machine; else, where
//! no state directory was named, the cluster of `$KUBECONFIG`, as kubectl does; else the one whose pod this is.
//!
//! The mesh of this machine comes before `$KUBECONFIG`: whoever works with one does not want to change, by a variable
//! that is set for kubectl, a cluster of others.

use std::{env, path::Path};

use kube::{
    Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::{CliError, StateDir, args::Target, error::During};

/// Address and credentials of the API.
///
/// # Errors
/// When there is no mesh and no cluster, or credentials can't be read.
pub(crate) async fn config(target: &Target) -> Result<Config, CliError> {
    let state = StateDir::new(target.state_dir.as_deref());
    let own = state.kubeconfig();
    let file = target.kubeconfig.clone().or_else(|| own.exists().then_some(own));
    if let Some(file) = file {
        return of_file(&file).await;
    }
    let of_env = if target.state_dir.is_none() {
        Kubeconfig::from_env().during("read the files of `$KUBECONFIG`")?
    } else {
        None
    };
    if let Some(kubeconfig) = of_env {
        return of_kubeconfig(kubeconfig, "use the files of `$KUBECONFIG`").await;
    }
    if env::var_os(IN_A_POD).is_some() {
        // The token's file is read again every minute, and the roots' when it changes.
        return Config::incluster().during("use the credentials of this pod");
    }
    Err(CliError::Trouble(format!(
        "there is no mesh in `{}`: start one with `palisade up`, name another directory with --state-dir, or a \
         cluster with --kubeconfig",
        state.path().display()
    )))
}

async fn of_file(path: &Path) -> Result<Config, CliError> {
    if !path.exists() {
        return Err(CliError::Trouble(format!("there is no kubeconfig `{}`", path.display())));
    }
    let what = format!("read `{}`", path.display());
    of_kubeconfig(Kubeconfig::read_from(path).during(&what)?, &what).await
}

async fn of_kubeconfig(kubeconfig: Kubeconfig, what: &str) -> Result<Config, CliError> {
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.during(what)
}

/// The variable by which a kubelet tells containers where the API is.
const IN_A_POD: &str = "KUBERNETES_SERVICE_HOST";
