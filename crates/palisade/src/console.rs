//! The console: what it sees of a mesh, and (`serve`) where it runs.

mod serve;

use std::time::Duration;

use futures::{StreamExt, stream::BoxStream};
use palisade_cli::{Ask, CliError, Mesh};
use palisade_console::{
    Answer, Applied, ConfigObject, ControlPlane, Draft, Line, LogsOf, MeshObjects, MeshView,
    Question, ViewError,
};
use palisade_model::World;
use palisade_policy::{PolicyRef, explain::Explanation};
use serde_json::Value;

pub(crate) use serve::{listen, run, start};

/// The mesh as the console looks at it.
struct View(Mesh);

impl MeshView for View {
    fn objects(&self) -> Answer<'_, MeshObjects> {
        Box::pin(async {
            let (world, looked) =
                palisade_cli::look(&self.0).await.map_err(|it| unavailable(&it))?;
            let config = looked.into_iter().map(|object| ConfigObject {
                kind: object.kind,
                namespace: object.namespace,
                name: object.name,
                created: object.created,
                yaml: object.yaml,
                problems: object.problems.iter().map(Into::into).collect(),
            });
            Ok(MeshObjects { world, config: config.collect() })
        })
    }

    fn sidecars(&self) -> Answer<'_, Vec<Value>> {
        Box::pin(async { self.0.sync_status().await.map_err(|it| unavailable(&it)) })
    }

    fn control_plane(&self) -> Answer<'_, ControlPlane> {
        Box::pin(async {
            let told = palisade_cli::control_plane(&self.0).await.map_err(|it| unavailable(&it))?;
            let troubles = &told.published["troubles"];
            Ok(ControlPlane {
                version: told.version,
                generation: told.published["generation"].as_u64().unwrap_or_default(),
                troubles: serde_json::from_value(troubles.clone()).unwrap_or_default(),
                authority: told.authority,
            })
        })
    }

    fn events(&self) -> Answer<'_, Vec<Value>> {
        Box::pin(async {
            let events = palisade_cli::events(&self.0, EVENTS).await;
            let events = events.map_err(|error| unavailable(&error))?;
            let json: Result<_, _> = events.iter().map(serde_json::to_value).collect();
            json.map_err(|error| ViewError::Unavailable(error.to_string()))
        })
    }

    fn issuers<'a>(&'a self, objects: &'a MeshObjects) -> Answer<'a, Vec<Value>> {
        Box::pin(async {
            let issuers = palisade_cli::issuers(&self.0, &objects.world).await;
            let json: Result<_, _> = issuers.iter().map(serde_json::to_value).collect();
            json.map_err(|error| ViewError::Unavailable(error.to_string()))
        })
    }

    fn explain(&self, world: &World, question: &Question) -> Result<Explanation, ViewError> {
        let explained = palisade_cli::explain(world, &asked(question));
        let explained = explained.map_err(|error| ViewError::Question(error.to_string()))?;
        Ok(explained.explanation)
    }

    fn propose(&self, objects: &MeshObjects, question: &Question) -> Result<Value, ViewError> {
        let object = |name: &PolicyRef| {
            let mut policies = objects.config.iter();
            let found = policies.find(|it| {
                it.kind == "AuthorizationPolicy"
                    && (&it.namespace, &it.name) == (&name.namespace, &name.name)
            });
            Some(found?.yaml.clone())
        };
        let proposed = palisade_cli::propose(&objects.world, &asked(question), object);
        let proposed = proposed.map_err(|error| ViewError::Question(error.to_string()))?;
        serde_json::to_value(proposed).map_err(|error| ViewError::Unavailable(error.to_string()))
    }

    fn sidecar_config<'a>(&'a self, namespace: &'a str, pod: &'a str) -> Answer<'a, Value> {
        Box::pin(async move {
            self.0.sidecar_config(namespace, pod).await.map_err(|it| unavailable(&it))
        })
    }

    fn logs<'a>(&'a self, of: &'a LogsOf) -> Answer<'a, BoxStream<'static, Line>> {
        let LogsOf { namespace, pod, container } = of;
        Box::pin(async move {
            let lines = self.0.follow_logs(namespace, pod, container, LOG_LINES).await;
            let lines = lines.map_err(|error| unavailable(&error))?;
            Ok(lines.map(|line| line.map_err(|error| error.to_string())).boxed())
        })
    }

    fn draft<'a>(&'a self, yaml: &'a str) -> Answer<'a, Draft> {
        Box::pin(async move {
            let draft = palisade_cli::draft(&self.0, yaml).await.map_err(|it| unavailable(&it))?;
            Ok(Draft {
                before: draft.before,
                after: draft.after,
                problems: draft.problems.iter().map(Into::into).collect(),
                kinds: draft.kinds,
            })
        })
    }

    fn apply<'a>(&'a self, yaml: &'a str) -> Answer<'a, Applied> {
        Box::pin(async move {
            let applied = palisade_cli::apply_text(&self.0, yaml, IN_FORCE_WITHIN).await;
            let applied = applied.map_err(|error| unavailable(&error))?;
            let number = |key: &str| applied.answer[key].as_u64().unwrap_or_default();
            Ok(Applied {
                synced: number("synced"),
                total: number("total"),
                generation: number("generation"),
                lines: applied.lines,
                warnings: applied.warnings,
            })
        })
    }
}

/// A question in the words of `palisade explain`.
fn asked(question: &Question) -> Ask {
    let or = |text: &str, otherwise: &str| match text {
        "" => otherwise.to_owned(),
        text => text.to_owned(),
    };
    Ask {
        from: Some(question.from.clone()),
        to: Some(question.to.clone()),
        method: or(&question.method, "GET"),
        path: or(&question.path, "/"),
        host: question.host.clone(),
        headers: question.headers.clone(),
        port: question.port,
        jwt: None,
        jwks: None,
        claims: question.claims.clone(),
        custom: None,
        ip: question.ip,
        tcp: question.tcp,
    }
}

fn unavailable(error: &CliError) -> ViewError {
    match error {
        CliError::No(why) => ViewError::No(why.clone()),
        error => ViewError::Unavailable(error.to_string()),
    }
}

/// Lines of the past that a log begins with.
const LOG_LINES: i64 = 200;
/// Events that are shown.
const EVENTS: usize = 100;
const IN_FORCE_WITHIN: Duration = Duration::from_secs(30);
