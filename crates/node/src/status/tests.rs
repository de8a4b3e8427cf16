use serde_json::{Value, json};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_305_000 + second).unwrap()
}

fn pod() -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "backend-1", "namespace": "poc-mesh", "generation": 1},
        "spec": {
            "initContainers": [
                {"name": "setup", "image": "busybox"},
                {"name": "istio-proxy", "image": "palisade.dev/proxy:1", "restartPolicy": "Always"},
            ],
            "containers": [{
                "name": "backend", "image": "mendhak/http-https-echo:34",
                "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": true}],
            }],
        },
    }))
    .unwrap()
}

fn end(exit_code: i32, reason: &str) -> Termination {
    Termination {
        exit_code,
        reason: reason.to_owned(),
        message: None,
        started_at: at(1),
        finished_at: at(2),
        id: Some("palisade://a".to_owned()),
    }
}

/// Phase and conditions, in short.
fn summary(state: &PodState) -> (String, String) {
    let status = status(&pod(), state, &PodStatus::default(), at(9));
    let conditions: Vec<_> = status
        .conditions
        .unwrap()
        .into_iter()
        .skip(1)
        .take(2)
        .map(|condition| {
            format!(
                "{}={} {}",
                condition.type_,
                condition.status,
                condition.message.unwrap_or_default()
            )
        })
        .collect();
    (status.phase.unwrap(), conditions.join("; "))
}

fn running(container: &mut ContainerState) {
    container.phase = Phase::Running { since: at(3) };
    container.started = true;
    container.ready = true;
}

#[test]
fn a_pod_goes_from_pending_over_running_to_its_end() {
    let mut state = PodState::new(&pod(), at(0));
    let mut seen = vec![summary(&state)];
    state.ip = Some([10, 244, 0, 2].into());
    state.init[0].phase = Phase::Terminated(end(0, "Completed"));
    seen.push(summary(&state));
    running(&mut state.init[1]);
    seen.push(summary(&state));
    running(&mut state.main[0]);
    state.main[0].ready = false;
    seen.push(summary(&state));
    running(&mut state.main[0]);
    seen.push(summary(&state));
    let main = &mut state.main[0];
    main.ready = false;
    main.last = Some(end(1, "Error"));
    main.phase = Phase::Waiting { reason: "CrashLoopBackOff".into(), message: "back-off".into() };
    seen.push(summary(&state));
    state.is_over = true;
    state.main[0].phase = Phase::Terminated(end(0, "Completed"));
    seen.push(summary(&state));
    state.main[0].phase = Phase::Terminated(end(1, "Error"));
    seen.push(summary(&state));
    insta::assert_debug_snapshot!(seen);
}

#[test]
fn the_status_is_complete() {
    let mut state = PodState::new(&pod(), at(0));
    state.ip = Some([10, 244, 0, 2].into());
    state.init[0].phase = Phase::Terminated(end(0, "Completed"));
    running(&mut state.init[1]);
    running(&mut state.main[0]);
    state.main[0].restarts = 1;
    state.main[0].last = Some(end(137, "Error"));
    let status = status(&pod(), &state, &PodStatus::default(), at(4));
    insta::assert_json_snapshot!(serde_json::to_value(status).unwrap());
}

#[test]
fn times_of_conditions_change_only_with_them() {
    let mut state = PodState::new(&pod(), at(0));
    let first = status(&pod(), &state, &PodStatus::default(), at(1));
    state.ip = Some([10, 244, 0, 2].into());
    let second = status(&pod(), &state, &first, at(5));
    let since = |kind: &str| -> Value {
        let conditions = second.conditions.iter().flatten();
        let condition = conditions.into_iter().find(|condition| condition.type_ == kind).unwrap();
        serde_json::to_value(&condition.last_transition_time).unwrap()
    };
    assert_eq!(since("PodReadyToStartContainers"), json!(Time(at(5))));
    assert_eq!(since("Ready"), json!(Time(at(1))));
}
