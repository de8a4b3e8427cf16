//! `logs`: what a container printed.

use std::io::Write;

use futures::{AsyncBufReadExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;

use super::target::PodTarget;
use crate::{CliError, Mesh, args::LogsArgs, error::During};

pub(crate) async fn run(
    mesh: &Mesh,
    args: &LogsArgs,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let target = PodTarget::resolve(mesh, &args.target, args.namespace.as_deref()).await?;
    let params = LogParams {
        container: target.container(args.container.as_deref()),
        follow: args.follow,
        tail_lines: args.tail,
        ..LogParams::default()
    };
    let what = format!("read the logs of pod `{}`", target.name());
    let pods = mesh.api::<Pod>(&target.namespace);
    let mut lines = pods.log_stream(target.name(), &params).await.during(&what)?.lines();
    while let Some(line) = lines.try_next().await.during(&what)? {
        writeln!(out, "{line}").during("print")?;
    }
    Ok(())
}
