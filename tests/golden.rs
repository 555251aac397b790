//! Images of every format version stay readable, by this program and by the reader that was written
//! from `docs/image-format.md`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use netckpt::image::{Image, Limits, Manifest, digest};
use netckpt::netlink::messages;
use netckpt::state;
use sha2::{Digest, Sha256};

/// The digest of each golden image: they are not made again.
const GOLDEN: [(&str, &str); 2] = [
    (
        "format-1/core.netckpt",
        "sha256:c17beaef031a43b3dc8c3020ad70b790ef40f1d1e3721fc50fa128cc0819338c",
    ),
    (
        "format-1/everything.netckpt",
        "sha256:b3c540a6340ca1ac3d6a22d19a7bd03e1c48367eadd9af2706a8538d40faa509",
    ),
];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

#[test]
fn golden_images_are_read() {
    for (name, known) in GOLDEN {
        let file = golden(name);
        assert_eq!(digest(&file), known, "{name} has been replaced");
        let image = Image::from_bytes(&file, &Limits::DEFAULT).unwrap();
        assert_eq!(Manifest::read(&file, &Limits::DEFAULT).unwrap(), image.manifest);
        for (section, raw) in &image.snapshot.sections {
            let class = section.rsplit('/').next().unwrap();
            let class = state::class(class).unwrap_or_else(|| panic!("{name}: class of {section}"));
            let objects = state::objects(class, raw).unwrap();
            let links = state::Names::of(&image.snapshot.sections["links"]);
            assert_eq!(state::check_section(class, raw, &links), [], "{name}: {section}");
            let counted = image.manifest.counts.get(section).copied().unwrap_or_default();
            // A file of the whole machine, which the first versions took for the namespace's.
            const OF_THE_MACHINE: &[u8] = b"\0netfilter/nf_hooks_lwtunnel\0";
            let passed = raw.windows(OF_THE_MACHINE.len()).filter(|w| *w == OF_THE_MACHINE).count();
            let understood = (objects.len() + passed) as u64;
            assert_eq!(understood, counted, "{name}: {section} is understood");
        }
        assert!(!image.manifest.counts.is_empty());
    }
    let images = std::fs::read_dir(path("format-1")).unwrap().count();
    assert_eq!(images, GOLDEN.len(), "each is listed above");
}

/// What is understood of an image does not change: by class the names of some objects that are in it.
#[test]
fn the_first_image_holds_what_it_held() {
    let image = Image::from_bytes(&golden(GOLDEN[0].0), &Limits::DEFAULT).unwrap();
    let links = &image.snapshot.sections["links"];
    let class = state::class("links").unwrap();
    let names: Vec<_> = state::objects(class, links)
        .unwrap()
        .iter()
        .map(|link| link.value().text("ifname").unwrap_or_default().to_owned())
        .collect();
    assert_eq!(names, ["lo", "eth0", "eth1"]);
    let sysctls = String::from_utf8_lossy(&image.snapshot.sections["sysctls"]).into_owned();
    assert!(sysctls.contains("ipv4/ip_forward\u{0}1\u{0}"));
    assert!(sysctls.contains("ipv4/tcp_keepalive_time\u{0}600\u{0}"));
}

fn reader(image: &Path) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/read_image.py");
    let output = Command::new("python3").arg(script).arg(image).output();
    output.expect("python3: tests/cluster/install.sh installs it")
}

#[test]
fn the_reader_written_from_the_document_agrees() {
    for (name, _) in GOLDEN {
        let output = reader(&path(name));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error} (it needs the command zstd)");
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let image = Image::from_bytes(&golden(name), &Limits::DEFAULT).unwrap();
        assert_eq!(told["manifest"], serde_json::to_value(&image.manifest).unwrap());
        assert_eq!(told["sections"].as_object().unwrap().len(), image.snapshot.sections.len());
        for (section, raw) in &image.snapshot.sections {
            let told = &told["sections"][section];
            assert_eq!(told["sha256"], hex::encode(Sha256::digest(raw)), "{section}");
            if section.ends_with("sysctls") {
                let entries = told["sysctls"].as_object().unwrap();
                assert_eq!(entries.len() * 2, raw.iter().filter(|byte| **byte == 0).count());
                let known = state::objects(state::class("sysctls").unwrap(), raw).unwrap();
                for sysctl in known {
                    assert!(entries.contains_key(&sysctl.key), "{}", sysctl.key);
                }
            } else {
                let kinds: Vec<_> = messages(raw).map(|message| message.unwrap().kind).collect();
                assert_eq!(told["messages"], serde_json::json!(kinds), "{section}");
            }
        }
    }
}

/// It checks what the document tells it to check.
#[test]
fn the_reader_written_from_the_document_refuses_damage() {
    let folder = tempfile::tempdir().unwrap();
    let file = golden(GOLDEN[0].0);
    let refused = |bytes: &[u8], why: &str| {
        let path = folder.path().join("damaged");
        std::fs::write(&path, bytes).unwrap();
        let output = reader(&path);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(why), "{why}: {error}");
    };
    for (at, why) in [(0, "not a netckpt image"), (8, "version"), (20, "SHA-256")] {
        let mut bytes = file.clone();
        bytes[at] ^= 4;
        refused(&bytes, why);
    }
    refused(&file[..file.len() - 1], "SHA-256");
    refused(&file[..100], "cut");
    let mut bytes = file.clone();
    let last = bytes.len() - 40;
    bytes[last] ^= 1;
    refused(&bytes, "SHA-256");
}

#[test]
fn the_example_of_the_document_is_an_image() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/image-format.md");
    let document = std::fs::read_to_string(document).unwrap();
    let (_, rest) = document.split_once("```hexdump\n").unwrap();
    let (dump, _) = rest.split_once("```").unwrap();
    let mut file = Vec::new();
    for line in dump.lines() {
        let columns = line.split('|').next().unwrap().split_whitespace();
        file.extend(columns.skip(1).map(|byte| u8::from_str_radix(byte, 16).unwrap()));
    }
    let image = Image::from_bytes(&file, &Limits::DEFAULT).unwrap();
    assert_eq!(&image.snapshot.sections["sysctls"][..], b"ipv4/ip_forward\x001\x00");
    assert_eq!(image.manifest.origin.pod, "web-0");
    assert_eq!(image.to_bytes().unwrap(), file, "and what is written today");
}

/// Every field of the manifest is in the document's table.
#[test]
fn the_document_names_every_field() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/image-format.md");
    let document = std::fs::read_to_string(document).unwrap();
    let image = Image::from_bytes(&golden(GOLDEN[0].0), &Limits::DEFAULT).unwrap();
    let manifest = serde_json::to_value(&image.manifest).unwrap();
    for (field, value) in manifest.as_object().unwrap() {
        assert!(document.contains(&format!("| `{field}` |")), "{field}");
        let inner = value.as_object().filter(|_| field != "counts");
        for name in inner.into_iter().flat_map(|inner| inner.keys()) {
            let (whole, short) = (format!("`{field}.{name}`"), format!("`.{name}`"));
            assert!(document.contains(&whole) || document.contains(&short), "{field}.{name}");
        }
    }
}
