//! What the plugin and the agent say to each other: one request and one answer a connection, each
//! a big-endian `u32` length and that many bytes of JSON.
//!
//! Unknown fields are ignored on both sides, so that a plugin and an agent of neighbouring versions
//! understand each other during an upgrade.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Longest request that the agent reads.
pub const LONGEST_REQUEST: usize = 64 << 10;
/// Longest answer that the plugin reads.
pub const LONGEST_ANSWER: usize = 1 << 20;

/// What the plugin asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "camelCase")]
pub enum Request {
    /// Restore the network if the pod wants that; answered when it is verified.
    Add(Attachment),
    /// Is what ADD answered still so?
    Check(Attachment),
    /// The attachment is gone.
    Del(Attachment),
    /// What is kept for attachments whose namespace is gone may go.
    Gc,
}

/// One attachment of a pod to a network, as the runtime names it. Nothing in it is to be trusted
/// before [`super::attachment`] has looked at it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Attachment {
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_NETNS`; may be empty at DEL.
    pub netns: String,
    /// `CNI_IFNAME`.
    pub interface: String,
    /// `K8S_POD_NAMESPACE`, `K8S_POD_NAME` and `K8S_POD_UID` of `CNI_ARGS`.
    pub namespace: String,
    pub pod: String,
    pub uid: String,
    /// How long the plugin will wait for the answer.
    pub patience_millis: u64,
}

/// What the agent says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "camelCase")]
pub enum Answer {
    /// Nothing to do, or done (CHECK, DEL, GC); the previous result stands.
    Untouched,
    /// The network is the checkpoint's, and verified.
    Restored(Restored),
    /// The pod must not start.
    Refused(Refused),
}

/// What a restored interface has, for the CNI result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Restored {
    /// Hardware address of the interface, as CNI writes it.
    pub mac: Option<String>,
    pub mtu: Option<u32>,
    /// The pod's own addresses first, then the interface's other global ones.
    pub addresses: Vec<Address>,
    /// Routes of the main table through the interface that have a gateway.
    pub routes: Vec<Route>,
}

/// An address with its prefix length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    pub address: IpAddr,
    pub prefix: u8,
    /// The default gateway of its family.
    #[serde(default)]
    pub gateway: Option<IpAddr>,
}

/// A route of the CNI result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub to: IpAddr,
    pub prefix: u8,
    pub gateway: IpAddr,
}

/// Why not, in a form that becomes a CNI error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// Another try may go better (CNI code 11); otherwise something has to be changed first.
    pub transient: bool,
    /// What failed, on which object, and what to do.
    pub message: String,
    /// What was found below it, for example the kernel's words.
    #[serde(default)]
    pub details: String,
}

/// A message with its length before it.
///
/// # Errors
/// When it is longer than `longest` or cannot be written as JSON.
pub fn frame(message: &impl Serialize, longest: usize) -> std::io::Result<Vec<u8>> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= longest);
    let Some(length) = length else {
        let text = format!("a message of {} bytes is over the limit of {longest}", body.len());
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, text));
    };
    let mut framed = Vec::with_capacity(4 + body.len());
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(&body);
    Ok(framed)
}

/// The length of the message to come.
///
/// # Errors
/// When it is over `longest`: nothing is allocated by a length that was not checked.
pub fn length(header: [u8; 4], longest: usize) -> std::io::Result<usize> {
    let length = u32::from_be_bytes(header) as usize;
    if length > longest {
        let text = format!("a message of {length} bytes is announced, the limit is {longest}");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, text));
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_framed_is_read() {
        let answer = Answer::Restored(Restored {
            mac: Some("02:00:00:00:00:01".into()),
            addresses: vec![Address {
                address: "10.0.0.7".parse().unwrap(),
                prefix: 24,
                gateway: None,
            }],
            ..Restored::default()
        });
        let framed = frame(&answer, LONGEST_ANSWER).unwrap();
        let length = length(framed[..4].try_into().unwrap(), LONGEST_ANSWER).unwrap();
        assert_eq!(length, framed.len() - 4);
        assert_eq!(serde_json::from_slice::<Answer>(&framed[4..]).unwrap(), answer);
    }

    #[test]
    fn lengths_are_bounded_on_both_sides() {
        assert!(frame(&"x".repeat(20), 10).is_err());
        assert!(length([0xff; 4], LONGEST_ANSWER).is_err());
    }

    #[test]
    fn later_fields_do_no_harm() {
        let text = r#"{"command":"add","containerId":"a","netns":"/n","new":{"x":1}}"#;
        let Request::Add(attachment) = serde_json::from_str(text).unwrap() else { panic!() };
        assert_eq!((attachment.container_id.as_str(), attachment.pod.as_str()), ("a", ""));
    }
}
