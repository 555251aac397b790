//! The container against honest, damaged and hostile files.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::image::{Evidence, NotCarried, Origin};

fn manifest() -> Manifest {
    Manifest {
        created: "2026-11-30T12:00:00.123456Z".parse().unwrap(),
        producer: "netckpt 0.1.0".into(),
        kernel: "6.18.0".into(),
        origin: Origin { namespace: "default".into(), pod: "web".into(), ..Origin::default() },
        counts: [("links".to_owned(), 2)].into(),
        not_carried: vec![NotCarried {
            class: "nftables".into(),
            object: String::new(),
            why: "not yet".into(),
            matters: true,
        }],
        evidence: Evidence {
            passes: 2,
            read_again: [("routes".to_owned(), 1)].into(),
            interrupted: 1,
            micros: 4_200,
            standing: None,
        },
        sections: Vec::new(),
    }
}

fn image(sections: &[(&str, &[u8])]) -> Image {
    let sections = sections
        .iter()
        .map(|(name, raw)| ((*name).to_owned(), Bytes::copy_from_slice(raw)))
        .collect();
    Image { manifest: manifest(), snapshot: Snapshot { sections } }
}

fn read(file: &[u8]) -> Result<Image, Error> {
    Image::from_bytes(file, &Limits::DEFAULT)
}

/// A file as a hostile writer would make it: whatever table and body, with the right digest.
fn forged(sections: &[(&str, u64, u64)], body: &[u8]) -> Vec<u8> {
    let sections = sections
        .iter()
        .map(|(name, size, stored)| Section {
            name: (*name).to_owned(),
            size: *size,
            stored: *stored,
        })
        .collect();
    let json = serde_json::to_vec(&Manifest { sections, ..manifest() }).unwrap();
    sealed(&MAGIC, 1, json.len() as u32, &[&json, body])
}

fn sealed(magic: &[u8], version: u32, length: u32, parts: &[&[u8]]) -> Vec<u8> {
    let mut file = magic.to_vec();
    file.extend_from_slice(&version.to_le_bytes());
    file.extend_from_slice(&length.to_le_bytes());
    parts.iter().for_each(|part| file.extend_from_slice(part));
    let trailer = Sha256::digest(&file);
    file.extend_from_slice(&trailer);
    file
}

#[test]
fn an_image_comes_back() {
    let image = image(&[("links", &[7; 5000]), ("host/links", b"x"), ("rules", b"")]);
    let file = image.to_bytes().unwrap();
    let back = read(&file).unwrap();
    assert_eq!(back.snapshot, image.snapshot);
    let sizes: Vec<_> = back.manifest.sections.iter().map(|s| (s.name.as_str(), s.size)).collect();
    assert_eq!(sizes, [("host/links", 1), ("links", 5000), ("rules", 0)]);
    assert_eq!(Manifest { sections: Vec::new(), ..back.manifest.clone() }, image.manifest);
    assert_eq!(back.to_bytes().unwrap(), file, "writing again gives the same bytes");
    assert_eq!(digest(&file).len(), "sha256:".len() + 64);
}

#[test]
fn the_manifest_is_read_from_a_prefix() {
    let file = image(&[("links", &[7; 5000])]).to_bytes().unwrap();
    let mut has = 0;
    let needs = loop {
        match Manifest::read(&file[..has], &Limits::DEFAULT) {
            Err(Error::Truncated { needs, .. }) => {
                assert!(needs > has as u64, "{has}");
                has = needs as usize;
            }
            other => break other.map(|manifest| (manifest.kernel, has)),
        }
    };
    let (kernel, has) = needs.unwrap();
    assert_eq!(kernel, "6.18.0");
    assert!(has < file.len());
    assert!(Manifest::read(&file[..has - 1], &Limits::DEFAULT).is_err());
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    let file = image(&[("links", &[7; 300]), ("rules", b"abc")]).to_bytes().unwrap();
    let mut bad = file.to_vec();
    for at in 0..bad.len() {
        for bit in 0..8 {
            bad[at] ^= 1 << bit;
            assert!(read(&bad).is_err(), "bit {bit} of byte {at}");
            bad[at] ^= 1 << bit;
        }
    }
    for end in 0..file.len() {
        assert!(read(&file[..end]).is_err(), "cut at {end}");
    }
    bad.push(0);
    assert!(read(&bad).is_err(), "a byte more");
}

#[test]
fn other_files_and_versions_are_named_as_such() {
    assert!(matches!(read(b"PK\x03\x04 something else"), Err(Error::NotAnImage)));
    assert!(matches!(read(b""), Err(Error::Truncated { .. })));
    let newer = sealed(&MAGIC, 2, 2, &[b"{}"]);
    let error = read(&newer).unwrap_err();
    assert!(matches!(error, Error::Version { found: 2, known: 1 }));
    assert_eq!(error.reason(), "ImageVersionUnknown");
}

#[test]
fn hostile_lengths_are_refused() {
    let frame = zstd::bulk::compress(&[0; 1000], 3).unwrap();
    let stored = frame.len() as u64;
    let refused =
        |sections: &[(&str, u64, u64)], body: &[u8]| read(&forged(sections, body)).unwrap_err();

    assert!(read(&forged(&[("links", 1000, stored)], &frame)).is_ok(), "the honest one is read");
    for length in [1 << 20, (1 << 20) + 1, u32::MAX] {
        let error = read(&sealed(&MAGIC, 1, length, &[b"{}"])).unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. } | Error::Truncated { .. }), "{error}");
    }
    for size in [0, 999, 1001, 512 << 20] {
        assert!(
            matches!(refused(&[("links", size, stored)], &frame), Error::Section { .. }),
            "{size}"
        );
    }
    for size in [(512 << 20) + 1, u64::MAX] {
        assert!(matches!(refused(&[("links", size, stored)], &frame), Error::TooLarge { .. }));
    }
    let two = [("a", u64::MAX, u64::MAX), ("b", 2, 2)];
    assert!(matches!(refused(&two, &frame), Error::TooLarge { .. }));
    for size in [0, stored - 1, stored + 1, 1 << 27] {
        assert!(
            matches!(refused(&[("links", 1000, size)], &frame), Error::Layout { .. }),
            "{size}"
        );
    }
    assert!(matches!(refused(&[("a", 5, u64::MAX)], &frame), Error::TooLarge { .. }));
}

#[test]
fn a_section_is_one_frame_and_nothing_else() {
    let frame = zstd::bulk::compress(&[0; 1000], 3).unwrap();
    let twice = [frame.as_slice(), &frame].concat();
    let error = read(&forged(&[("a", 1000, twice.len() as u64)], &twice)).unwrap_err();
    assert!(matches!(error, Error::Section { .. }), "{error}");
    let error = read(&forged(&[("a", 2000, twice.len() as u64)], &twice)).unwrap_err();
    assert!(matches!(error, Error::Section { .. }), "{error}");
    let cut = &frame[..frame.len() - 1];
    let error = read(&forged(&[("a", 1000, cut.len() as u64)], cut)).unwrap_err();
    assert!(matches!(error, Error::Section { .. }), "{error}");
}

#[test]
fn a_small_frame_that_unpacks_to_much_is_stopped_at_the_listed_size() {
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 3).unwrap();
    assert!(bomb.len() < 16 << 10);
    let error = read(&forged(&[("a", 1000, bomb.len() as u64)], &bomb)).unwrap_err();
    assert!(error.to_string().contains("more than the 1000 bytes"), "{error}");
}

#[test]
fn names_are_plain_and_unique() {
    let empty = zstd::bulk::compress(&[], 3).unwrap();
    let stored = empty.len() as u64;
    let long = "a".repeat(65);
    for name in ["", "/", "a/", "/a", "a/b/c", "../a", "A", "a b", "a\0", "ä", long.as_str()] {
        let error = read(&forged(&[(name, 0, stored)], &empty)).unwrap_err();
        assert!(matches!(error, Error::Name(_)), "{name:?}: {error}");
        assert!(image(&[(name, b"")]).to_bytes().is_err(), "{name:?} is written");
    }
    let both = [empty.as_slice(), &empty].concat();
    let error = read(&forged(&[("a", 0, stored), ("a", 0, stored)], &both)).unwrap_err();
    assert!(matches!(error, Error::Twice(_)), "{error}");
}

#[test]
fn tighter_limits_hold() {
    let file = image(&[("links", &[1; 100]), ("rules", &[2; 100])]).to_bytes().unwrap();
    let all = Limits::DEFAULT;
    for limits in [
        Limits { file: file.len() as u64 - 1, ..all },
        Limits { manifest: 10, ..all },
        Limits { sections: 1, ..all },
        Limits { section: 99, ..all },
        Limits { total: 199, ..all },
    ] {
        let error = Image::from_bytes(&file, &limits).unwrap_err();
        assert_eq!(error.reason(), "ImageTooLarge", "{limits:?}: {error}");
    }
}

#[test]
fn later_manifests_may_say_more() {
    let file = image(&[]).to_bytes().unwrap();
    let length = u32::from_le_bytes(file[12..16].try_into().unwrap()) as usize;
    let mut json: serde_json::Value = serde_json::from_slice(&file[16..16 + length]).unwrap();
    json["fromTheFuture"] = serde_json::json!({"a": [1]});
    let json = serde_json::to_vec(&json).unwrap();
    assert!(read(&sealed(&MAGIC, 1, json.len() as u32, &[&json])).is_ok());
}

#[test]
fn a_manifest_that_is_too_long_is_not_written() {
    let mut image = image(&[]);
    image.manifest.kernel = "x".repeat(1 << 20);
    assert_eq!(image.to_bytes().unwrap_err().reason(), "ImageTooLarge");
}

proptest! {
    #[test]
    fn any_sections_come_back(
        sections in prop::collection::btree_map(
            "(host/)?[a-z0-9-]{1,20}",
            prop::collection::vec(any::<u8>(), 0..3000),
            0..12,
        ),
        kernel in any::<String>(),
    ) {
        let sections: BTreeMap<_, _> =
            sections.into_iter().map(|(name, raw)| (name, Bytes::from(raw))).collect();
        let image = Image {
            manifest: Manifest { kernel, ..manifest() },
            snapshot: Snapshot { sections },
        };
        let file = image.to_bytes().unwrap();
        let back = read(&file).unwrap();
        prop_assert_eq!(&back.snapshot, &image.snapshot);
        prop_assert_eq!(&back.manifest.kernel, &image.manifest.kernel);
        prop_assert_eq!(back.to_bytes().unwrap(), file);
    }

    #[test]
    fn whatever_is_sealed_gives_an_answer(
        json in prop::collection::vec(any::<u8>(), 0..200),
        body in prop::collection::vec(any::<u8>(), 0..200),
        length in any::<u32>(),
    ) {
        let _ = read(&sealed(&MAGIC, 1, length % 256, &[&json, &body]));
        let size = u64::from(length % 5000);
        prop_assert!(read(&forged(&[("a", size, body.len() as u64)], &body)).is_err());
    }
}
