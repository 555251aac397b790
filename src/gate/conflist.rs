//! The plugin's entry in a network configuration list: pure edits of its JSON.

use serde_json::{Map, Value, json};

use super::{ANNOTATIONS, PLUGIN, SOCKET};

/// A list that is left alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    #[error("it is not JSON: {0}")]
    NotJson(String),
    #[error("it has no list `plugins`")]
    NoPlugins,
    #[error("its list `plugins` is empty")]
    Empty,
    #[error("an entry of its list `plugins` has no `type`")]
    NoType,
    /// The plugin needs `prevResult` with interfaces, which came with 0.3.0.
    #[error("its cniVersion `{0}` is not one of {versions}", versions = super::cni::VERSIONS.join(", "))]
    Version(String),
}

/// Plugins that make rules of the node for the addresses of the result: they must be told the restored
/// ones, and come after ours.
const AFTER: &[&str] = &["portmap", "firewall"];

/// The list with our entry once, in last place but for [`AFTER`]; `None` when it is so already. All
/// else stays as it is, in its order.
///
/// # Errors
/// [`Unknown`] when it isn't a list as the CNI specification describes one.
pub fn add(text: &str, socket: &str) -> Result<Option<String>, Unknown> {
    let mut list = read(text)?;
    let version = list.get("cniVersion").and_then(Value::as_str).unwrap_or_default();
    if !super::cni::VERSIONS.contains(&version) {
        return Err(Unknown::Version(version.to_owned()));
    }
    let plugins = plugins(&mut list)?;
    let before = plugins.clone();
    plugins.retain(|plugin| !ours(plugin));
    if plugins.is_empty() {
        return Err(Unknown::Empty);
    }
    let follows = |plugin: &Value| plugin["type"].as_str().is_some_and(|of| AFTER.contains(&of));
    let place = plugins.iter().position(follows).filter(|place| *place > 0);
    plugins.insert(place.unwrap_or(plugins.len()), entry(socket));
    Ok(if *plugins == before { None } else { Some(write(&list)) })
}

/// The list without our entry; `None` when it has none.
///
/// # Errors
/// As [`add`].
pub fn remove(text: &str) -> Result<Option<String>, Unknown> {
    let mut list = read(text)?;
    let plugins = plugins(&mut list)?;
    let before = plugins.len();
    plugins.retain(|plugin| !ours(plugin));
    Ok(if plugins.len() == before { None } else { Some(write(&list)) })
}

fn entry(socket: &str) -> Value {
    let mut entry = json!({"type": PLUGIN, "capabilities": {ANNOTATIONS: true}});
    if socket != SOCKET {
        entry["socket"] = Value::from(socket);
    }
    entry
}

fn ours(plugin: &Value) -> bool {
    plugin.get("type").and_then(Value::as_str) == Some(PLUGIN)
}

fn read(text: &str) -> Result<Map<String, Value>, Unknown> {
    serde_json::from_str(text).map_err(|error| Unknown::NotJson(error.to_string()))
}

fn plugins(list: &mut Map<String, Value>) -> Result<&mut Vec<Value>, Unknown> {
    let plugins = list.get_mut("plugins").and_then(Value::as_array_mut);
    let plugins = plugins.ok_or(Unknown::NoPlugins)?;
    let typed = |plugin: &Value| plugin.get("type").is_some_and(Value::is_string);
    if !plugins.iter().all(typed) {
        return Err(Unknown::NoType);
    }
    Ok(plugins)
}

fn write(list: &Map<String, Value>) -> String {
    // A map of values that came from JSON can always be written.
    format!("{:#}\n", Value::Object(list.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"{
        "name": "lab", "cniVersion": "1.0.0", "zebra": 1, "added": {"b": [1, 2.5], "a": null},
        "plugins": [{"type": "bridge", "ipam": {"type": "host-local"}}, {"type": "portmap"}]
    }"#;

    fn types(text: &str) -> Vec<String> {
        let list: Value = serde_json::from_str(text).unwrap();
        let plugins = list["plugins"].as_array().unwrap().iter();
        plugins.map(|plugin| plugin["type"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn it_comes_once_before_what_needs_its_result_and_goes_without_a_trace() {
        let with = add(LIST, SOCKET).unwrap().unwrap();
        assert_eq!(types(&with), ["bridge", PLUGIN, "portmap"]);
        assert_eq!(add(&with, SOCKET).unwrap(), None);
        let without = remove(&with).unwrap().unwrap();
        let (before, after): (Value, Value) =
            (serde_json::from_str(LIST).unwrap(), serde_json::from_str(&without).unwrap());
        // As text: the order of fields is kept too.
        assert_eq!(before.to_string(), after.to_string());
        assert_eq!(remove(LIST).unwrap(), None);
    }

    #[test]
    fn an_entry_in_the_middle_or_of_before_is_put_right() {
        let mut list: Value = serde_json::from_str(LIST).unwrap();
        list["plugins"].as_array_mut().unwrap().insert(0, json!({"type": PLUGIN}));
        let with = add(&list.to_string(), "/elsewhere.sock").unwrap().unwrap();
        assert_eq!(types(&with), ["bridge", PLUGIN, "portmap"]);
        let list: Value = serde_json::from_str(&with).unwrap();
        assert_eq!(list["plugins"][1]["socket"], "/elsewhere.sock");
        assert_eq!(list["plugins"][1]["capabilities"][ANNOTATIONS], true);
    }

    #[test]
    fn what_is_no_list_is_left_alone() {
        let with = |text: &str| add(text, SOCKET).unwrap_err();
        assert!(matches!(with("{"), Unknown::NotJson(_)));
        assert!(matches!(with("[]"), Unknown::NotJson(_)));
        assert_eq!(with(r#"{"cniVersion":"1.0.0","type":"bridge"}"#), Unknown::NoPlugins);
        assert_eq!(with(r#"{"cniVersion":"1.0.0","plugins":[]}"#), Unknown::Empty);
        assert_eq!(with(r#"{"cniVersion":"1.0.0","plugins":[{}]}"#), Unknown::NoType);
        assert!(matches!(with(r#"{"plugins":[{"type":"a"}]}"#), Unknown::Version(_)));
    }
}
