//! `exec`: a command in a container, with its streams and its exit code.

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Status};
use kube::api::{Api, AttachParams, AttachedProcess};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::target::PodTarget;
use crate::{CliError, Mesh, args::ExecArgs, error::During};

pub(crate) async fn run(mesh: &Mesh, args: &ExecArgs) -> Result<(), CliError> {
    let target = PodTarget::resolve(mesh, &args.target, args.namespace.as_deref()).await?;
    let mut params = AttachParams::default().stdin(args.stdin).stdout(true).stderr(true);
    params.container = target.container(args.container.as_deref());
    let pods = mesh.api::<Pod>(&target.namespace);
    let mut process = start(&pods, target.name(), &args.command, &params).await?;
    if let Some(mut remote) = process.stdin() {
        tokio::spawn(async move {
            if tokio::io::copy(&mut tokio::io::stdin(), &mut remote).await.is_ok() {
                drop(remote.shutdown().await);
            }
        });
    }
    let status = process.take_status();
    let (stdout, stderr) = (process.stdout(), process.stderr());
    let (out, err, status) =
        tokio::join!(pump(stdout, tokio::io::stdout()), pump(stderr, tokio::io::stderr()), async {
            Some(status?.await)
        });
    out.and(err).during("print the output of the command")?;
    match exit_code(status.flatten())? {
        0 => Ok(()),
        code => Err(CliError::Remote(code)),
    }
}

/// What a command in a container printed, and how it ended.
pub(crate) struct Output {
    /// Standard output, as text.
    pub(crate) stdout: String,
    /// Standard error, as text.
    pub(crate) stderr: String,
    /// Exit code.
    pub(crate) code: u8,
}

/// Runs a command in a container and collects what it prints.
pub(crate) async fn capture(
    mesh: &Mesh,
    target: &PodTarget,
    container: Option<&str>,
    command: &[String],
) -> Result<Output, CliError> {
    let mut params = AttachParams::default().stdin(false).stdout(true).stderr(true);
    params.container = target.container(container);
    let pods = mesh.api::<Pod>(&target.namespace);
    let mut process = start(&pods, target.name(), command, &params).await?;
    let status = process.take_status();
    let (stdout, stderr) = (process.stdout(), process.stderr());
    let (stdout, stderr, status) =
        tokio::join!(read(stdout), read(stderr), async { Some(status?.await) });
    Ok(Output {
        stdout: stdout.during("read the output of the command")?,
        stderr: stderr.during("read the output of the command")?,
        code: exit_code(status.flatten())?,
    })
}

async fn start(
    pods: &Api<Pod>,
    pod: &str,
    command: &[String],
    params: &AttachParams,
) -> Result<AttachedProcess, CliError> {
    pods.exec(pod, command, params).await.during(format!("run a command in pod `{pod}`"))
}

async fn pump(
    from: Option<impl AsyncRead + Unpin>,
    mut to: impl tokio::io::AsyncWrite + Unpin,
) -> std::io::Result<()> {
    if let Some(mut from) = from {
        tokio::io::copy(&mut from, &mut to).await?;
        to.flush().await?;
    }
    Ok(())
}

async fn read(from: Option<impl AsyncRead + Unpin>) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(MAX_OUTPUT).read_to_end(&mut bytes).await?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The exit code in the final status of an exec stream (Kubernetes `remotecommand`: cause `ExitCode`).
fn exit_code(status: Option<Status>) -> Result<u8, CliError> {
    let Some(status) = status else {
        return Err(CliError::Trouble("the command's connection ended without a status".into()));
    };
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    let causes = status.details.as_ref().and_then(|details| details.causes.as_ref());
    let code = causes
        .and_then(|causes| causes.iter().find(|c| c.reason.as_deref() == Some("ExitCode")))
        .and_then(|cause| cause.message.as_deref()?.parse().ok());
    code.ok_or_else(|| {
        CliError::Trouble(status.message.unwrap_or_else(|| "the command was not run".to_owned()))
    })
}

/// Bytes of output that are kept of a captured command.
const MAX_OUTPUT: u64 = 4 << 20;
