//! The shapes of the CNI specification: environment, configuration, errors, versions.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{ANNOTATIONS, PLUGIN, RESTORE_FROM, SOCKET};

/// Versions whose results this plugin can pass on and mend, oldest first.
pub const VERSIONS: &[&str] = &["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
/// Longest configuration that is read from standard input.
const LONGEST_CONFIG: u64 = 4 << 20;
/// How long the agent may take when the configuration says nothing.
const PATIENCE: Duration = Duration::from_secs(90);
/// Most that the configuration may ask for; kubelet gives a sandbox four minutes.
const LONGEST_PATIENCE: Duration = Duration::from_secs(210);

/// Error codes of the specification.
pub mod code {
    pub const INCOMPATIBLE_VERSION: u32 = 1;
    pub const BAD_ENVIRONMENT: u32 = 4;
    pub const IO: u32 = 5;
    pub const DECODE: u32 = 6;
    pub const INVALID_CONFIG: u32 = 7;
    /// Try again later.
    pub const LATER: u32 = 11;
    /// Of this plugin: the network of the checkpoint can't be restored.
    pub const NOT_RESTORED: u32 = 100;
}

/// An error as the runtime shows it: `msg`, then `; ` and `details`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub code: u32,
    pub message: String,
    pub details: String,
}

impl Error {
    #[must_use]
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: String::new() }
    }

    #[must_use]
    pub fn details(mut self, details: impl ToString) -> Self {
        self.details = details.to_string();
        self
    }

    /// The JSON for standard output.
    #[must_use]
    pub fn to_json(&self, version: &str) -> Value {
        let message = format!("{PLUGIN}: {}", self.message);
        let mut json = json!({"cniVersion": version, "code": self.code, "msg": message});
        if !self.details.is_empty() {
            json["details"] = Value::from(self.details.as_str());
        }
        json
    }
}

/// What the runtime puts into the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    pub command: String,
    pub container_id: String,
    pub netns: String,
    pub interface: String,
    /// `CNI_ARGS`: `KEY=VALUE` joined by `;`, in any order.
    pub args: BTreeMap<String, String>,
}

impl Environment {
    /// Reads it through `get`, which answers a variable's value.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Self {
        let text = |name| get(name).unwrap_or_default();
        let args = text("CNI_ARGS")
            .split(';')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        Self {
            command: text("CNI_COMMAND"),
            container_id: text("CNI_CONTAINERID"),
            netns: text("CNI_NETNS"),
            interface: text("CNI_IFNAME"),
            args,
        }
    }

    /// A value of `CNI_ARGS`, empty where it is not given.
    #[must_use]
    pub fn arg(&self, name: &str) -> &str {
        self.args.get(name).map_or("", String::as_str)
    }
}

/// The plugin's configuration, from standard input. What is not named here is left alone.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    #[serde(rename = "cniVersion")]
    pub version: String,
    pub prev_result: Option<Value>,
    pub runtime_config: BTreeMap<String, Value>,
    pub capabilities: BTreeMap<String, bool>,
    /// The agent's socket, else [`SOCKET`].
    pub socket: Option<String>,
    pub timeout_seconds: Option<u64>,
}

/// What is known of a pod's wish to be restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    No,
    Yes,
    /// The runtime gave no annotations; only the agent can find out.
    Unknown,
}

impl Config {
    /// Reads at most 4 MiB of JSON.
    ///
    /// # Errors
    /// With the CNI code of what is wrong.
    pub fn read(from: impl Read) -> Result<Self, Error> {
        let mut text = Vec::new();
        from.take(LONGEST_CONFIG + 1).read_to_end(&mut text).map_err(|error| {
            Error::new(code::IO, "the network configuration can't be read from standard input")
                .details(error)
        })?;
        if text.len() as u64 > LONGEST_CONFIG {
            let message =
                format!("the network configuration is over {} MiB long", LONGEST_CONFIG >> 20);
            return Err(Error::new(code::DECODE, message));
        }
        serde_json::from_slice(&text).map_err(|error| {
            Error::new(code::DECODE, "the network configuration on standard input isn't valid")
                .details(error)
        })
    }

    /// Sees that the version is one that this plugin speaks.
    ///
    /// # Errors
    /// Code 1 with the versions that it does speak.
    pub fn check_version(&self) -> Result<(), Error> {
        if VERSIONS.contains(&self.version.as_str()) {
            return Ok(());
        }
        let message = format!("cniVersion `{}` is not supported", self.version);
        Err(Error::new(code::INCOMPATIBLE_VERSION, message)
            .details(format!("supported are {}", VERSIONS.join(", "))))
    }

    /// Whether the pod carries the annotation. Null or an empty map is an answer too: the runtime
    /// knows the capability, and the pod has no annotation.
    #[must_use]
    pub fn wish(&self) -> Wish {
        match self.runtime_config.get(ANNOTATIONS) {
            None => Wish::Unknown,
            Some(annotations) => match annotations.get(RESTORE_FROM).and_then(Value::as_str) {
                Some(name) if !name.trim().is_empty() => Wish::Yes,
                _ => Wish::No,
            },
        }
    }

    #[must_use]
    pub fn socket(&self) -> &str {
        self.socket.as_deref().unwrap_or(SOCKET)
    }

    /// How long to wait for the agent.
    #[must_use]
    pub fn patience(&self) -> Duration {
        let asked = self.timeout_seconds.map_or(PATIENCE, Duration::from_secs);
        asked.clamp(Duration::from_secs(1), LONGEST_PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_wish_is_known_only_when_the_runtime_tells_annotations() {
        assert_eq!(config("{}").wish(), Wish::Unknown);
        assert_eq!(config(r#"{"runtimeConfig":{"portMappings":[]}}"#).wish(), Wish::Unknown);
        for (annotations, wish) in [
            ("null", Wish::No),
            ("{}", Wish::No),
            (r#"{"netckpt.io/restore-from":""}"#, Wish::No),
            (r#"{"netckpt.io/restore-from":7}"#, Wish::No),
            (r#"{"netckpt.io/restore-from":"web"}"#, Wish::Yes),
        ] {
            let text = format!(r#"{{"runtimeConfig":{{"{ANNOTATIONS}":{annotations}}}}}"#);
            assert_eq!(config(&text).wish(), wish, "{annotations}");
        }
    }

    #[test]
    fn args_come_in_any_order() {
        let args = "IgnoreUnknown=1;K8S_POD_UID=u;K8S_POD_NAME=p;broken;K8S_POD_NAMESPACE=n";
        let environment = Environment::read(|name| (name == "CNI_ARGS").then(|| args.to_owned()));
        assert_eq!(environment.arg("K8S_POD_NAMESPACE"), "n");
        assert_eq!(environment.arg("K8S_POD_NAME"), "p");
        assert_eq!(environment.arg("K8S_POD_UID"), "u");
        assert_eq!(environment.arg("absent"), "");
    }

    #[test]
    fn errors_say_what_is_wrong_with_the_input() {
        assert_eq!(Config::read(&b"{"[..]).unwrap_err().code, code::DECODE);
        assert_eq!(Config::read(std::io::repeat(b' ')).unwrap_err().code, code::DECODE);
        let error = config(r#"{"cniVersion":"2.0.0"}"#).check_version().unwrap_err();
        assert_eq!(error.code, code::INCOMPATIBLE_VERSION);
        assert!(error.details.contains("1.1.0"));
    }

    #[test]
    fn patience_is_bounded() {
        assert_eq!(config(r#"{"timeoutSeconds":0}"#).patience(), Duration::from_secs(1));
        assert_eq!(config(r#"{"timeoutSeconds":9999999}"#).patience(), LONGEST_PATIENCE);
        assert_eq!(config("{}").patience(), PATIENCE);
    }
}
