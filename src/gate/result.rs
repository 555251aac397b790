//! The CNI result of a restored pod: the previous one with the restored addresses in it.

use serde_json::{Map, Value, json};

use super::cni::{Environment, Error, code};
use super::protocol::{Address, Restored};

/// Puts what was restored into the previous result. Everything that belongs to other interfaces,
/// and every field that is not known here, stays as it was.
///
/// # Errors
/// When the previous result does not list the pod's interface.
pub fn mend(
    mut result: Value,
    version: &str,
    environment: &Environment,
    restored: &Restored,
) -> Result<Value, Error> {
    let Some(fields) = result.as_object_mut() else {
        return Err(Error::new(code::DECODE, "prevResult is not an object"));
    };
    let place = interface(fields, environment)?;
    if let Some(entry) = fields.get_mut("interfaces").and_then(|list| list.get_mut(place)) {
        if let Some(mac) = &restored.mac {
            entry["mac"] = Value::from(mac.as_str());
        }
        // The MTU of an interface is told since 1.1.0.
        if let Some(mtu) = restored.mtu.filter(|_| entry.get("mtu").is_some()) {
            entry["mtu"] = Value::from(mtu);
        }
    }
    let others = list(fields, "ips").into_iter().filter(|ip| !belongs(ip, place));
    let ours = restored.addresses.iter().map(|address| ip(address, place, version));
    let ips: Vec<Value> = ours.chain(others).collect();
    fields.insert("ips".into(), Value::from(ips));
    if !restored.routes.is_empty() {
        let routes = restored.routes.iter();
        let routes = routes
            .map(|route| json!({"dst": format!("{}/{}", route.to, route.prefix), "gw": route.gateway.to_string()}));
        fields.insert("routes".into(), routes.collect());
    }
    Ok(result)
}

/// The place of the pod's interface in the list: its name, and inside a namespace (`sandbox`), since
/// the host's end may have the same name.
fn interface(fields: &Map<String, Value>, environment: &Environment) -> Result<usize, Error> {
    let empty = Vec::new();
    let interfaces = fields.get("interfaces").and_then(Value::as_array).unwrap_or(&empty);
    let found = interfaces.iter().position(|entry| {
        let text = |name| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        text("name") == environment.interface && !text("sandbox").is_empty()
    });
    found.ok_or_else(|| {
        let message = format!(
            "prevResult does not list the interface `{}` of the pod; the plugin that makes it must come earlier in the chain",
            environment.interface
        );
        Error::new(code::INVALID_CONFIG, message)
    })
}

fn list(fields: &mut Map<String, Value>, name: &str) -> Vec<Value> {
    match fields.get_mut(name).map(Value::take) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

/// Whether an address is the pod's interface's. One without an interface is the container's own.
fn belongs(ip: &Value, place: usize) -> bool {
    ip.get("interface").and_then(Value::as_u64).is_none_or(|index| index == place as u64)
}

fn ip(address: &Address, place: usize, version: &str) -> Value {
    let mut ip =
        json!({"address": format!("{}/{}", address.address, address.prefix), "interface": place});
    if let Some(gateway) = address.gateway {
        ip["gateway"] = Value::from(gateway.to_string());
    }
    // Before 1.0.0 each address names its family.
    if version.starts_with("0.") {
        ip["version"] = Value::from(if address.address.is_ipv4() { "4" } else { "6" });
    }
    ip
}

#[cfg(test)]
mod tests {
    use super::super::protocol::Route;
    use super::*;

    fn environment() -> Environment {
        Environment { interface: "eth0".into(), ..Environment::default() }
    }

    fn previous() -> Value {
        json!({
            "cniVersion": "1.1.0", "unknown": {"kept": true},
            "interfaces": [
                {"name": "cni0", "mac": "aa:aa:aa:aa:aa:aa"},
                {"name": "veth1", "mac": "bb:bb:bb:bb:bb:bb"},
                {"name": "eth0", "mac": "cc:cc:cc:cc:cc:cc", "mtu": 1500, "sandbox": "/run/netns/x"},
            ],
            "ips": [
                {"address": "10.244.2.5/24", "gateway": "10.244.2.1", "interface": 2},
                {"address": "10.9.9.9/24", "interface": 1},
            ],
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.244.2.1"}],
            "dns": {"nameservers": ["10.96.0.10"]},
        })
    }

    fn restored() -> Restored {
        Restored {
            mac: Some("02:00:00:00:00:07".into()),
            mtu: Some(1450),
            addresses: vec![
                Address {
                    address: "10.244.1.7".parse().unwrap(),
                    prefix: 24,
                    gateway: Some("10.244.1.1".parse().unwrap()),
                },
                Address { address: "fd00:1::7".parse().unwrap(), prefix: 64, gateway: None },
            ],
            routes: vec![Route {
                to: "0.0.0.0".parse().unwrap(),
                prefix: 0,
                gateway: "10.244.1.1".parse().unwrap(),
            }],
        }
    }

    #[test]
    fn the_restored_addresses_take_the_place_of_the_given_ones() {
        let result = mend(previous(), "1.1.0", &environment(), &restored()).unwrap();
        let expected = json!([
            {"address": "10.244.1.7/24", "interface": 2, "gateway": "10.244.1.1"},
            {"address": "fd00:1::7/64", "interface": 2},
            {"address": "10.9.9.9/24", "interface": 1},
        ]);
        assert_eq!(result["ips"], expected);
        assert_eq!(result["interfaces"][2]["mac"], "02:00:00:00:00:07");
        assert_eq!(result["interfaces"][2]["mtu"], 1450);
        assert_eq!(result["interfaces"][1], previous()["interfaces"][1]);
        assert_eq!(result["routes"], json!([{"dst": "0.0.0.0/0", "gw": "10.244.1.1"}]));
        for untouched in ["dns", "unknown", "cniVersion"] {
            assert_eq!(result[untouched], previous()[untouched]);
        }
    }

    #[test]
    fn old_versions_name_the_family() {
        let result = mend(previous(), "0.4.0", &environment(), &restored()).unwrap();
        assert_eq!(result["ips"][0]["version"], "4");
        assert_eq!(result["ips"][1]["version"], "6");
    }

    #[test]
    fn the_hosts_end_is_not_taken_for_the_pods() {
        let mut previous = previous();
        previous["interfaces"][0]["name"] = "eth0".into();
        let result = mend(previous, "1.1.0", &environment(), &restored()).unwrap();
        assert_eq!(result["ips"][0]["interface"], 2);
        let none = mend(json!({"ips": []}), "1.1.0", &environment(), &restored());
        assert_eq!(none.unwrap_err().code, code::INVALID_CONFIG);
    }
}
