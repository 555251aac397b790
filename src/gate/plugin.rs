//! The verbs of the plugin, as functions of the environment and standard input.

use std::io::Read;
use std::time::Duration;

use serde_json::{Value, json};

use super::cni::{Config, Environment, Error, VERSIONS, Wish, code};
use super::protocol::{Answer, Attachment, Refused, Request};
use super::{client, result};

/// How long DEL and GC wait for the agent: they tell it, and do not depend on it.
const COURTESY: Duration = Duration::from_secs(5);
/// The version that is answered in when the question names none.
const NEWEST: &str = "1.1.0";

/// What the process leaves: JSON for standard output (none means print nothing), and its exit status.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub output: Option<Value>,
    pub status: u8,
}

/// Runs the verb that `CNI_COMMAND` names.
pub fn run(environment: &Environment, input: impl Read) -> Outcome {
    let config = Config::read(input);
    let version = match &config {
        Ok(config) if !config.version.is_empty() => config.version.clone(),
        _ => NEWEST.to_owned(),
    };
    match config.and_then(|config| verb(environment, config)) {
        Ok(output) => Outcome { output, status: 0 },
        Err(error) => Outcome { output: Some(error.to_json(&version)), status: 1 },
    }
}

fn verb(environment: &Environment, config: Config) -> Result<Option<Value>, Error> {
    match environment.command.as_str() {
        "VERSION" => Ok(Some(versions(&config))),
        "ADD" => {
            config.check_version()?;
            need(environment, &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"])?;
            add(environment, config).map(Some)
        }
        "CHECK" => {
            config.check_version()?;
            need(environment, &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"])?;
            check(environment, &config).map(|()| None)
        }
        // Whatever the agent says or does not say, a pod can always be taken down.
        "DEL" => {
            // Of pods without the annotation too: their addresses may have been captured.
            let request = Request::Del(attachment(environment, COURTESY));
            let _ = client::ask(config.socket(), &request, COURTESY);
            Ok(None)
        }
        "GC" => {
            let _ = client::ask(config.socket(), &Request::Gc, COURTESY);
            Ok(None)
        }
        // Pods without the annotation start without the agent, so the plugin is always ready.
        "STATUS" => config.check_version().map(|()| None),
        other => {
            let message = format!(
                "CNI_COMMAND is `{other}`; it must be ADD, DEL, CHECK, VERSION, GC or STATUS"
            );
            Err(Error::new(code::BAD_ENVIRONMENT, message))
        }
    }
}

fn versions(config: &Config) -> Value {
    let version = if config.version.is_empty() { NEWEST } else { &config.version };
    json!({"cniVersion": version, "supportedVersions": VERSIONS})
}

fn add(environment: &Environment, mut config: Config) -> Result<Value, Error> {
    let Some(mut previous) = config.prev_result.take() else {
        let message = "no prevResult: it must come last in a chain, after the plugin that makes the pod's interface";
        return Err(Error::new(code::INVALID_CONFIG, message));
    };
    // The runtime has brought the result into the version that it asks in; say so if it didn't.
    if let Some(fields) = previous.as_object_mut() {
        fields.entry("cniVersion").or_insert_with(|| Value::from(config.version.as_str()));
    }
    let pod = environment.arg("K8S_POD_NAME");
    let wish = config.wish();
    // Without a pod there is no annotation: a runtime outside Kubernetes.
    if wish == Wish::No || pod.is_empty() {
        return Ok(previous);
    }
    let patience = config.patience();
    let request = Request::Add(attachment(environment, patience));
    match client::ask(config.socket(), &request, patience) {
        // The runtime may not tell the annotations; then the agent has looked at the pod itself.
        Ok(Answer::Untouched) if wish != Wish::Yes => Ok(previous),
        Ok(Answer::Untouched) => Err(disagreed(environment)),
        Ok(Answer::Restored(restored)) => {
            result::mend(previous, &config.version, environment, &restored)
        }
        Ok(Answer::Refused(refused)) => Err(refusal(refused)),
        Err(error) => Err(unreachable(environment, wish, &error)),
    }
}

fn check(environment: &Environment, config: &Config) -> Result<(), Error> {
    let wish = config.wish();
    if wish == Wish::No || environment.arg("K8S_POD_NAME").is_empty() {
        return Ok(());
    }
    let patience = config.patience();
    let request = Request::Check(attachment(environment, patience));
    match client::ask(config.socket(), &request, patience) {
        Ok(Answer::Untouched | Answer::Restored(_)) => Ok(()),
        Ok(Answer::Refused(refused)) => Err(refusal(refused)),
        Err(error) => Err(unreachable(environment, wish, &error)),
    }
}

/// The runtime tells the annotation and the agent saw none: one of them is behind. A pod that is to
/// be restored must not start with another network.
fn disagreed(environment: &Environment) -> Error {
    let message = format!(
        "the pod {}/{} is annotated to be restored, and the agent of this node sees no annotation \
         netckpt.io/restore-from on it; it is tried again",
        environment.arg("K8S_POD_NAMESPACE"),
        environment.arg("K8S_POD_NAME"),
    );
    Error::new(code::LATER, message)
}

fn refusal(refused: Refused) -> Error {
    let code = if refused.transient { code::LATER } else { code::NOT_RESTORED };
    Error::new(code, refused.message).details(refused.details)
}

/// The agent can't be asked. A pod that is to be restored must not start with another network; of
/// one whose annotations the runtime does not tell, that can't be excluded.
fn unreachable(environment: &Environment, wish: Wish, error: &client::Error) -> Error {
    let pod =
        format!("{}/{}", environment.arg("K8S_POD_NAMESPACE"), environment.arg("K8S_POD_NAME"));
    let message = match wish {
        Wish::Unknown => format!(
            "whether the pod {pod} is to be restored can't be known: the conflist gives this plugin no \
             `capabilities` for annotations (run `netckpt cni-install` again), and {error}"
        ),
        _ => format!(
            "the network of the pod {pod} can't be restored now: {error}; see whether the netckpt \
             agent of this node is running"
        ),
    };
    Error::new(code::LATER, message)
}

fn attachment(environment: &Environment, patience: Duration) -> Attachment {
    Attachment {
        container_id: environment.container_id.clone(),
        netns: environment.netns.clone(),
        interface: environment.interface.clone(),
        namespace: environment.arg("K8S_POD_NAMESPACE").to_owned(),
        pod: environment.arg("K8S_POD_NAME").to_owned(),
        uid: environment.arg("K8S_POD_UID").to_owned(),
        patience_millis: u64::try_from(patience.as_millis()).unwrap_or(u64::MAX),
    }
}

fn need(environment: &Environment, names: &[&str]) -> Result<(), Error> {
    let value = |name: &str| match name {
        "CNI_CONTAINERID" => !environment.container_id.is_empty(),
        "CNI_NETNS" => !environment.netns.is_empty(),
        _ => !environment.interface.is_empty(),
    };
    let missing: Vec<_> = names.iter().copied().filter(|name| !value(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!("the runtime did not set {}", missing.join(", "));
    Err(Error::new(code::BAD_ENVIRONMENT, message))
}
