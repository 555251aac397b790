//! What a hold's table says of itself: whose it is, for a person who lists the ruleset, and where its
//! other side is, for whoever sweeps.
//!
//! User data of a table is a run of type, length and value, a byte each but the value. nft(8) shows
//! type 0 as the table's comment and passes over what it does not know.

use std::path::PathBuf;

use super::links::Side;
use crate::netns::{Id, Namespace};

/// `NFTNL_UDATA_TABLE_COMMENT` of libnftnl.
const COMMENT: u8 = 0;
/// Of this project: indexes of the node's links, path, and device and inode of the pod's namespace.
const LINKS: u8 = 0x4e;
const PATH: u8 = 0x4f;
const IDENTITY: u8 = 0x50;
/// Of `NFT_USERDATA_MAXLEN` (256), what each may take with its header.
const LONGEST_COMMENT: usize = 80;
const LONGEST_PATH: usize = 110;
const MOST_LINKS: usize = 8;

/// Whose hold it is, in a few words, for example `source shop/web`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Note(pub String);

/// What is written in a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) note: Note,
    /// Indexes of the node's links.
    pub(super) links: Vec<u32>,
    pub(super) netns: Option<(PathBuf, Id)>,
}

impl Note {
    pub(super) fn written(&self, links: &Side, pod: &Namespace) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |kind: u8, value: &[u8]| {
            bytes.extend([kind, value.len() as u8]);
            bytes.extend_from_slice(value);
        };
        let mut comment: String = self.0.chars().filter(|c| !c.is_control() && *c != '"').collect();
        while comment.len() >= LONGEST_COMMENT {
            comment.pop();
        }
        put(COMMENT, &[comment.as_bytes(), &[0]].concat());
        let indexes = links.iter().take(MOST_LINKS);
        put(LINKS, &indexes.flat_map(|(index, _)| index.to_ne_bytes()).collect::<Vec<_>>());
        if pod.name().starts_with('/') && pod.name().len() <= LONGEST_PATH {
            put(PATH, pod.name().as_bytes());
            let id = pod.id();
            put(IDENTITY, &[id.device.to_ne_bytes(), id.inode.to_ne_bytes()].concat());
        }
        bytes
    }
}

impl Written {
    /// Reads it; what can't be read is left out.
    pub(super) fn read(mut bytes: &[u8]) -> Self {
        let mut written = Self::default();
        let (mut path, mut id) = (None, None);
        while let [kind, length, rest @ ..] = bytes {
            let Some((value, after)) = rest.split_at_checked(usize::from(*length)) else { break };
            bytes = after;
            match *kind {
                COMMENT => {
                    let text = value.strip_suffix(&[0]).unwrap_or(value);
                    written.note = Note(String::from_utf8_lossy(text).into_owned());
                }
                LINKS => {
                    let numbers = value.chunks_exact(4).filter_map(|n| n.first_chunk());
                    written.links = numbers.map(|n| u32::from_ne_bytes(*n)).collect();
                }
                PATH => path = std::str::from_utf8(value).ok().map(PathBuf::from),
                IDENTITY => {
                    let number = |at: usize| {
                        let bytes = value.get(at..at + 8)?.first_chunk()?;
                        Some(u64::from_ne_bytes(*bytes))
                    };
                    id = number(0).zip(number(8)).map(|(device, inode)| Id { device, inode });
                }
                _ => {}
            }
        }
        written.netns = path.zip(id);
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_fits_and_is_read() {
        let pod = Namespace::current().unwrap();
        let links: Side = (1..20).map(|index| (index, format!("veth{index}"))).collect();
        let bytes = Note(format!("source \"shop\"/{}", "ü".repeat(100))).written(&links, &pod);
        assert!(bytes.len() <= 256, "{}", bytes.len());
        let read = Written::read(&bytes);
        assert!(read.note.0.starts_with("source shop/ü") && read.note.0.len() < LONGEST_COMMENT);
        assert_eq!(read.links, (1..=8).collect::<Vec<_>>());
        assert_eq!(read.netns.unwrap().1, pod.id());
        for end in 0..bytes.len() {
            Written::read(&bytes[..end]);
        }
    }
}
