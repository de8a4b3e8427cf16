//! `control`: the control plane as a process of its own, on one machine as on a cluster.

use std::process::ExitCode;

use palisade_cli::{CliError, ControlArgs, RedirectBy};
use palisade_control::{AuthorityPlace, ControlOptions, Redirect};
use tokio_util::sync::CancellationToken;

use crate::network;

/// Runs until SIGTERM or SIGINT.
pub(crate) fn run(args: &ControlArgs) -> ExitCode {
    log_to(std::io::stderr, args.verbose);
    let authority = match (&args.ca.ca_dir, &args.ca.ca_secret) {
        (Some(folder), _) => AuthorityPlace::Folder(folder.clone()),
        (None, secret) => AuthorityPlace::Secret(secret.clone().unwrap_or_default()),
    };
    let mut options = ControlOptions::new(args.api.clone(), authority, args.listen);
    options.history.clone_from(&args.history);
    options.redirect = match args.redirect {
        RedirectBy::Node => Redirect::Node,
        RedirectBy::Init => Redirect::Init,
    };
    if let Some(image) = &args.proxy_image {
        options.proxy_image.clone_from(image);
    }
    options.svid_ttl = args.svid_ttl;
    options.key_refresh = args.key_refresh;
    options.loopback_issuers = args.allow_loopback_issuers;
    options.register_service = args.register_service;
    options.network = network::of(&args.network);
    crate::conclude(crate::runtime().and_then(|runtime| {
        runtime.block_on(async {
            let shutdown = CancellationToken::new();
            end_on_signal(shutdown.clone())?;
            palisade_control::run(options, shutdown)
                .await
                .map_err(|error| CliError::Trouble(format!("control plane: {error}")))
        })
    }))
}

/// Cancels on the first SIGTERM or SIGINT.
pub(crate) fn end_on_signal(shutdown: CancellationToken) -> Result<(), CliError> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| {
        signal(kind).map_err(|error| CliError::Trouble(format!("listen to signals: {error}")))
    };
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        shutdown.cancel();
    });
    Ok(())
}

/// Events for people; `RUST_LOG` decides which if it is set.
pub(crate) fn log_to<W>(writer: W, verbose: bool)
where
    W: for<'a> tracing_subscriber::fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    use tracing_subscriber::EnvFilter;
    // The API's client logs each failure that whoever asked is told of, too.
    let default = match verbose {
        true => "info,palisade=debug",
        false => "warn,palisade=info,kube_client::client::builder=off",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false).init();
}
