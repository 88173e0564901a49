//! Hooks: what a container does, or is told, right after its start and right before its end.
//! Corresponds to upstream's `lifecycle/handlers.go` and `executePreStopHook`.

use api::{Message, message};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, HTTPGetAction, LifecycleHandler, Pod};
use machinery::clock::Clock;
use machinery::events::EventType::Warning;
use tokio::time::Instant;

use crate::cri::CriResult;
use crate::kubelet::Kubelet;
use crate::pod_spec::{self, Role};
use crate::probes::http;
use crate::runtime_state;

/// For how long a hook after the start may run.
pub(super) const LONGEST: Duration = Duration::from_secs(60 * 60);
/// What a program has to end in, however long its hook took.
const LEAST: Duration = Duration::from_secs(2);
/// How long a server has to answer.
const ANSWER: Duration = Duration::from_secs(60);
/// What servers are told about who asks.
const AGENT: &str = "kube-lifecycle/1.36";

/// What a program has left of the grace that is over at some time. As upstream, what was waited for is counted in whole
/// seconds.
pub(super) fn left(clock: &Clock, grace: Duration, over: Instant) -> Duration {
    let waited = Duration::from_secs((clock.instant() + grace - over).as_secs());
    grace.saturating_sub(waited).max(LEAST)
}

/// Runs the hook before the end within the grace period.
pub(super) async fn before_stop(
    kubelet: &Arc<Kubelet>,
    pod: &Pod,
    container: &Container,
    role: Role,
    id: &str,
    grace: Duration,
) {
    let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    let Some(hook) = hook else { return };
    let hooked = async {
        let pod_ips = match needs_address(hook) {
            true => addresses(kubelet, pod).await.map_err(|error| error.message)?,
            false => Vec::new(),
        };
        run(kubelet, pod, container, hook, id, &pod_ips, grace).await
    };
    let described = || pod_spec::described(pod);
    match tokio::time::timeout(grace, hooked).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::info!(pod = described(), container = container.name, %error, "preStop hook failed");
            kubelet.notes.container(pod, container, role, Warning, "FailedPreStopHook", "PreStopHook failed");
        }
        Err(_) => {
            tracing::info!(
                pod = described(),
                container = container.name,
                ?grace,
                "preStop hook did not end in time"
            );
        }
    }
}

fn needs_address(hook: &LifecycleHandler) -> bool {
    hook.http_get.as_ref().is_some_and(|get| get.host.as_deref().is_none_or(str::is_empty))
}

/// The pod's addresses as the runtime knows them.
async fn addresses(kubelet: &Kubelet, pod: &Pod) -> CriResult<Vec<String>> {
    if pod_spec::host_network(pod) {
        return Ok(kubelet.node_facts().host_ips);
    }
    let sandboxes = kubelet.runtime.list_sandboxes(Some(pod_spec::uid(pod))).await?;
    let Some(ready) = sandboxes.iter().find(|sandbox| runtime_state::sandbox(sandbox).ready) else {
        return Ok(Vec::new());
    };
    Ok(runtime_state::sandbox_ips(&kubelet.runtime.sandbox_status(&ready.id).await?.status))
}

/// Runs a hook; on failure says why.
pub(super) async fn run(
    kubelet: &Arc<Kubelet>,
    pod: &Pod,
    container: &Container,
    hook: &LifecycleHandler,
    id: &str,
    pod_ips: &[String],
    limit: Duration,
) -> Result<(), Message> {
    if let Some(exec) = &hook.exec {
        let command = exec.command.as_deref().unwrap_or_default();
        let answer = kubelet.runtime.exec_sync(id, command, limit).await.map_err(|error| error.rpc())?;
        return match answer.exit_code {
            0 => Ok(()),
            code => {
                let mut output = answer.stdout;
                output.extend_from_slice(&answer.stderr);
                let output = String::from_utf8_lossy(&output);
                Err(message!("command '{}' exited with {code}: {output}", command.join(" ")))
            }
        };
    }
    if let Some(action) = &hook.http_get {
        let pod_ip = pod_ips.first().map(String::as_str).unwrap_or_default();
        let reach = http::Reach { pod_ip, host_network: pod_spec::host_network(pod) };
        return get(action, container, reach, limit.min(ANSWER)).await;
    }
    if let Some(sleep) = &hook.sleep {
        let asked = Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0));
        let clock = &kubelet.clock;
        clock.sleep_until(clock.instant() + asked.min(limit)).await;
        return Ok(());
    }
    Err("invalid handler".into())
}

/// Tells a server; whatever it answers, it has been told.
async fn get(
    action: &HTTPGetAction,
    container: &Container,
    reach: http::Reach<'_>,
    limit: Duration,
) -> Result<(), Message> {
    if reach.pod_ip.is_empty() && action.host.as_deref().is_none_or(str::is_empty) {
        return Err("failed to find networking container: the pod has no address".into());
    }
    let mut request = http::Request::of(action, container, reach, AGENT)?;
    match Box::pin(http::get(&request, limit)).await {
        Ok(_) => Ok(()),
        // Hooks were once sent without TLS whatever the scheme said; servers may still rely on it.
        Err(error) if error.plain => {
            request.https = false;
            request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("Authorization"));
            Box::pin(http::get(&request, limit))
                .await
                .map(drop)
                .map_err(|error| error.text)
                .map_err(Message::from)
        }
        Err(error) => Err(error.text.into()),
    }
}
