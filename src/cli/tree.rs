//! An image as a tree that people like to read.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::image::{Image, Snapshot};
use crate::netlink::Malformed;
use crate::state::{self, CLASSES, Names, Object, Value};

/// Prefix of the sections of the host side.
const HOST: &str = "host/";

/// A line and what hangs below it.
#[derive(Debug, Default)]
struct Branch {
    text: String,
    below: Vec<Branch>,
}

impl Branch {
    fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), below: Vec::new() }
    }

    fn with(text: impl Into<String>, below: Vec<Self>) -> Self {
        Self { text: text.into(), below }
    }

    fn draw(&self, indent: &str, out: &mut String) {
        for (at, branch) in self.below.iter().enumerate() {
            let last = at + 1 == self.below.len();
            let (turn, on) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            let _ = writeln!(out, "{indent}{turn}{}", branch.text);
            branch.draw(&format!("{indent}{on}"), out);
        }
    }
}

/// Draws an image. `defaults` is a fresh namespace's snapshot: sysctls equal to it are left out.
///
/// # Errors
/// [`Malformed`] where a section is not what its name says.
pub(super) fn draw(image: &Image, defaults: Option<&Snapshot>) -> Result<String, Malformed> {
    let mut root = Branch::new(title(image));
    root.below.extend(side(&image.snapshot, "", defaults)?);
    let host = side(&image.snapshot, HOST, None)?;
    if !host.is_empty() {
        root.below.push(Branch::with("host side", host));
    }
    let lost = image.manifest.not_carried.iter().map(|lost| {
        let what = if lost.object.is_empty() { "" } else { " " };
        let weight = if lost.matters { "" } else { " (informs only)" };
        Branch::new(format!("{}{what}{}: {}{weight}", lost.class, lost.object, lost.why))
    });
    let lost: Vec<_> = lost.collect();
    if !lost.is_empty() {
        root.below.push(Branch::with(format!("not carried ({})", lost.len()), lost));
    }
    let mut out = format!("{}\n", root.text);
    root.draw("", &mut out);
    Ok(out)
}

fn title(image: &Image) -> String {
    let manifest = &image.manifest;
    let origin = &manifest.origin;
    let of = match (origin.pod.as_str(), origin.node.as_str()) {
        ("", _) => String::new(),
        (pod, node) => format!(" of pod {}/{pod} on {node}", origin.namespace),
    };
    let evidence = &manifest.evidence;
    format!(
        "network{of}, {:.0}, Linux {}, one instant after {} {}",
        manifest.created,
        manifest.kernel,
        evidence.passes,
        if evidence.passes == 1 { "pass" } else { "passes" },
    )
}

fn side(
    snapshot: &Snapshot,
    prefix: &str,
    defaults: Option<&Snapshot>,
) -> Result<Vec<Branch>, Malformed> {
    let mut all: BTreeMap<&str, Vec<Object>> = BTreeMap::new();
    for class in CLASSES {
        if let Some(section) = snapshot.sections.get(&format!("{prefix}{}", class.name)) {
            all.insert(class.name, state::objects(class, section)?);
        }
    }
    let links = snapshot.sections.get(&format!("{prefix}links"));
    let names = Names::of(links.map(AsRef::as_ref).unwrap_or_default());
    let mut branches = Vec::new();
    let on_links = [
        ("addresses", "address"),
        ("neighbours", "neighbour"),
        ("proxy-neighbours", "proxy neighbour"),
    ]
    .map(|(class, word)| (word, all.remove(class)));
    if let Some(links) = all.remove("links") {
        branches.push(link_branch(&links, &on_links, &names));
    }
    if let Some(routes) = all.remove("routes") {
        branches.extend(grouped("routes", &routes, &names, |value| {
            let family = if value.number("family") == Some(10) { "IPv6" } else { "IPv4" };
            let table = value.text("attr.table").or_else(|| value.text("table"));
            let table = table.map_or_else(
                || value.number("attr.table").or(value.number("table")).unwrap_or(0).to_string(),
                ToOwned::to_owned,
            );
            format!("{family} table {table}")
        }));
    }
    if let Some(sysctls) = all.remove("sysctls") {
        branches.extend(sysctl_branch(&sysctls, defaults)?);
    }
    for class in CLASSES {
        let Some(objects) = all.remove(class.name).filter(|all| !all.is_empty()) else { continue };
        let below = objects.iter().map(|object| Branch::new(object.label(&names))).collect();
        branches.push(Branch::with(format!("{} ({})", class.name, objects.len()), below));
    }
    Ok(branches)
}

fn link_branch(
    links: &[Object],
    on_links: &[(&str, Option<Vec<Object>>)],
    names: &Names,
) -> Branch {
    let below = links.iter().map(|link| {
        let value = link.value();
        let index = value.number("index");
        let mut branch = Branch::new(link_line(&value));
        for (word, objects) in on_links {
            let here = objects.iter().flatten().map(|object| (object, object.value()));
            let here = here.filter(|(_, value)| {
                value.number("index").or_else(|| value.number("ifindex")) == index
            });
            branch.below.extend(here.map(|(object, _)| {
                let label = object.label(names);
                let device = format!(" on {}", value.text("ifname").unwrap_or_default());
                Branch::new(format!("{word} {}", label.strip_suffix(&device).unwrap_or(&label)))
            }));
        }
        branch
    });
    Branch::with(format!("links ({})", links.len()), below.collect())
}

fn link_line(value: &Value) -> String {
    let text = |path: &str| value.field(path).map(ToString::to_string);
    let mut line = text("ifname").unwrap_or_default();
    let kind = text("linkinfo.kind").unwrap_or_else(|| "device".to_owned());
    let _ = write!(line, " ({kind}, #{})", value.number("index").unwrap_or(0));
    let up = value.number("flags").is_some_and(|flags| flags & 1 != 0);
    line.push_str(if up { " up" } else { " down" });
    for (path, word) in
        [("mtu", "mtu"), ("address", ""), ("master", "master #"), ("ifalias", "alias")]
    {
        if let Some(text) = text(path) {
            let gap = if word.is_empty() || word.ends_with('#') { "" } else { " " };
            let _ = write!(line, " {word}{gap}{text}");
        }
    }
    line
}

/// Objects under headings, in the order of first appearance.
fn grouped(
    what: &str,
    objects: &[Object],
    names: &Names,
    heading: impl Fn(&Value) -> String,
) -> Option<Branch> {
    let mut groups: Vec<(String, Vec<Branch>)> = Vec::new();
    for object in objects {
        let heading = heading(&object.value());
        let line = Branch::new(object.label(names));
        match groups.iter_mut().find(|(known, _)| *known == heading) {
            Some((_, lines)) => lines.push(line),
            None => groups.push((heading, vec![line])),
        }
    }
    let below = groups.into_iter().map(|(heading, lines)| Branch::with(heading, lines));
    (!objects.is_empty())
        .then(|| Branch::with(format!("{what} ({})", objects.len()), below.collect()))
}

fn sysctl_branch(
    sysctls: &[Object],
    defaults: Option<&Snapshot>,
) -> Result<Option<Branch>, Malformed> {
    let class = &state::classes::SYSCTLS;
    let Some(defaults) = defaults.and_then(|all| all.sections.get(class.name)) else {
        return Ok(Some(Branch::new(format!("sysctls ({})", sysctls.len()))));
    };
    let defaults: BTreeMap<_, _> =
        state::objects(class, defaults)?.into_iter().map(|o| (o.key, o.bytes)).collect();
    // A device of this namespace only: its defaults are those of `default`.
    let usual = |key: &str| {
        let mut parts: Vec<&str> = key.split('/').collect();
        if parts.len() == 4 && matches!(parts[1], "conf" | "neigh") {
            parts[2] = "default";
        }
        defaults.get(key).or_else(|| defaults.get(&parts.join("/")))
    };
    let value = |bytes: &[u8]| -> Vec<u8> {
        bytes.split(|byte| *byte == 0).nth(1).unwrap_or_default().to_vec()
    };
    let below: Vec<_> = sysctls
        .iter()
        .filter(|sysctl| usual(&sysctl.key).map(|b| value(b)) != Some(value(&sysctl.bytes)))
        .map(|sysctl| {
            let text = String::from_utf8_lossy(&value(&sysctl.bytes)).trim().replace('\t', " ");
            Branch::new(format!("{} = {text}", sysctl.key))
        })
        .collect();
    let title = format!("sysctls ({}, {} not as in a new namespace)", sysctls.len(), below.len());
    Ok(Some(Branch::with(title, below)))
}
