//! Objects taken away from a rebuilt namespace by the kernel's own messages, and files with other
//! values: verify names each, and a restore mends it.

use netckpt::netlink::{Builder, Protocol, Socket};
use netckpt::netns::Namespace;
use netckpt::plan::Kind;
use netckpt::restore::{self, Options};
use netckpt::state::table::{Class, Source};
use netckpt::state::{self, CLASSES, Names, Object, replay_where};

use crate::netns::Pair;
use crate::objects::section;
use crate::{IMAGE, is_by_order};

/// Objects of a class that are taken away, from all over its section.
const MOST: usize = 5;
/// Files that get another value.
const FILES: usize = 60;
const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
const ROOT: &str = "/proc/sys/net";

struct Rebuilt {
    pair: Pair,
    pod: Namespace,
    node: Namespace,
}

impl Rebuilt {
    fn new(label: &str) -> Self {
        let pair = Pair::bare(label);
        let (pod, node) = (pair.pod.open(), pair.node.open());
        let rebuilt = Self { pair, pod, node };
        rebuilt.mend();
        rebuilt
    }

    /// Makes it what the image says, by a restore that verifies.
    #[track_caller]
    fn mend(&self) {
        let options = Options::default();
        let report = restore::restore(&self.pod, Some(&self.node), &IMAGE, &options);
        let report = report.unwrap_or_else(|error| panic!("{error}"));
        let left: Vec<_> = report.differences.iter().filter(|one| one.matters()).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// Takes an object away by a restore of an image that is without it.
    fn is_made_without(&self, class: &'static Class, object: &Object) -> bool {
        let mut image = IMAGE.clone();
        let all = state::objects(class, &image.snapshot.sections[class.name]).unwrap();
        let less = section(all.iter().filter(|other| other.key != object.key));
        image.snapshot.sections.insert(class.name.to_owned(), less);
        restore::restore(&self.pod, Some(&self.node), &image, &Options::default()).is_ok()
    }

    /// What verify names of a class, with its kind.
    fn named(&self, class: &str) -> Vec<(String, Kind)> {
        let found = restore::verify(&self.pod, &IMAGE).unwrap();
        let of_class = found.into_iter().filter(|one| one.class == class);
        of_class.map(|one| (one.object, one.kind)).collect()
    }
}

#[test]
fn each_object_that_is_taken_away_is_named_and_mended() {
    let rebuilt = Rebuilt::new("taken");
    let (mut taken, mut stayed) = (0, Vec::new());
    for class in CLASSES.into_iter().filter(|class| class.remove != 0) {
        let count = state::objects(class, &IMAGE.snapshot.sections[class.name]).unwrap().len();
        let before = taken;
        for place in (0..count).step_by(count.div_ceil(MOST).max(1)) {
            // Read anew: what was mended has other handles.
            let now = restore::read(&rebuilt.pod, Some(&rebuilt.node)).unwrap();
            let names = Names::of(&now.sections["links"]);
            let objects = state::objects(class, &now.sections[class.name]).unwrap();
            let Some(object) = objects.get(place).filter(|object| !object.is_fleeting()) else {
                continue;
            };
            let by_message = rebuilt.pod.run(|| remove(class, object)).unwrap();
            if !by_message && !rebuilt.is_made_without(class, object) {
                continue;
            }
            let label = object.label(&names);
            let named = rebuilt.named(class.name);
            let is = |(named, kind): &(String, Kind)| {
                *kind == Kind::Missing && (*named == label || is_by_order(&objects, object))
            };
            assert!(named.iter().any(is), "{} {label} was taken away: {named:#?}", class.name);
            rebuilt.mend();
            taken += 1;
        }
        if before == taken && count > 0 {
            stayed.push(class.name);
        }
    }
    println!("{taken} objects taken away; the kernel gave none away of {stayed:?}");
    assert!(taken > 30, "{taken}");
    drop(rebuilt.pair);
}

/// Whether the kernel took the object away. Some messages want all that is known of it, some only
/// what tells it from others.
fn remove(class: &'static Class, object: &Object) -> bool {
    let (Source::Netlink { protocol, .. }
    | Source::Watched { protocol, .. }
    | Source::Flows { protocol, .. }) = class.source
    else {
        return false;
    };
    let mut socket = Socket::open(protocol).unwrap();
    if class.name.starts_with("nft-") {
        let messages = [batch(0x10), of_nftables(class, object), batch(0x11)];
        return socket.transaction(messages.iter().map(Vec::as_slice)).unwrap().is_empty();
    }
    let is_key = |name: &str| class.key.iter().any(|key| key.split('.').next() == Some(name));
    let key = replay_where(class, &object.bytes, class.remove, REQUEST, |attr| is_key(attr.name));
    let all = replay_where(class, &object.bytes, class.remove, REQUEST, |_| true);
    let forms = if protocol == Protocol::Netfilter { vec![key] } else { vec![all, key] };
    forms.into_iter().any(|message| socket.request(message).is_ok())
}

/// `NFNL_MSG_BATCH_BEGIN` and `NFNL_MSG_BATCH_END` of nftables.
fn batch(kind: u16) -> Vec<u8> {
    Builder::new(kind, REQUEST, &[0, 0, 0, 10]).finish()
}

/// The first attributes are what names an object of nftables: the table and up to two more.
fn of_nftables(class: &'static Class, object: &Object) -> Vec<u8> {
    let message = netckpt::netlink::messages(&object.bytes).next().unwrap().unwrap();
    let last = if class.name == "nft-tables" { 1 } else { 3 };
    let mut removal = Builder::new(class.remove, REQUEST, &[message.body[0], 0, 0, 0]);
    for attribute in message.attributes(4).map_while(Result::ok) {
        // A chain's second is its handle, which its name says as well; a set's third are its flags.
        let skipped = match class.name {
            "nft-chains" => attribute.id == 2,
            "nft-sets" | "nft-flowtables" => attribute.id == 3,
            _ => false,
        };
        if attribute.id <= last && !skipped {
            removal.put(attribute.id | attribute.flags, attribute.payload);
        }
    }
    removal.finish()
}

#[test]
fn each_file_with_another_value_is_named() {
    let rebuilt = Rebuilt::new("files");
    let section = &IMAGE.snapshot.sections["sysctls"];
    let files = state::objects(state::class("sysctls").unwrap(), section).unwrap();
    let mut tried = 0;
    for file in files.iter().step_by(files.len().div_ceil(FILES)) {
        let path = format!("{ROOT}/{}", file.key);
        let Some(was) = rebuilt.pod.run(|| write_another(&path)).unwrap() else { continue };
        let named = rebuilt.named("sysctls");
        let is = |(object, kind): &(String, Kind)| {
            *object == file.key && matches!(kind, Kind::Differs(_))
        };
        assert!(named.iter().any(is), "{} was {was}: {named:#?}", file.key);
        // Some change others along with them.
        rebuilt.pod.run(|| std::fs::write(&path, was)).unwrap().unwrap();
        if restore::verify(&rebuilt.pod, &IMAGE).unwrap().iter().any(|one| one.matters()) {
            rebuilt.mend();
        }
        tried += 1;
    }
    println!("{tried} files with other values");
    assert!(tried > FILES / 3, "{tried}");
}

/// Writes a number beside the one that is there; answers what was there, `None` where the kernel takes none.
fn write_another(path: &str) -> Option<String> {
    let was = std::fs::read_to_string(path).ok()?.trim().to_owned();
    let number: i64 = was.parse().ok()?;
    [number + 1, number - 1].into_iter().find_map(|other| {
        std::fs::write(path, other.to_string()).ok()?;
        let now = std::fs::read_to_string(path).ok()?;
        (now.trim() != was).then(|| was.clone())
    })
}
