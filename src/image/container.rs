//! The container: magic, version, manifest, sections, digest. See `docs/image-format.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{Error, Image, Limits, Manifest, Section, Snapshot};

/// The first bytes of every image.
pub const MAGIC: [u8; 8] = *b"NETCKPT\0";
/// The format version that is written, and the only one so far.
pub const FORMAT_VERSION: u32 = 1;

/// Magic, version and length of the manifest.
const HEADER: usize = 16;
/// The SHA-256 at the end.
const TRAILER: usize = 32;
/// zstd's own default: a capture must not wait for its compression.
const LEVEL: i32 = 3;
/// Windows up to 8 MiB, which every zstd decoder should take (RFC 8878, 3.1.1.1.2); ours need 2 MiB.
const WINDOW_LOG: u32 = 23;
/// What is allocated for a section before its first byte has come out of the decoder.
const FIRST_CAPACITY: u64 = 64 << 10;

/// Digest of an image file, as `sha256:` and hexadecimal. It is over the whole file, its trailer too.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

impl Image {
    /// The image as a file. The same image gives the same bytes (with one version of zstd).
    ///
    /// # Errors
    /// What a reader with [`Limits::DEFAULT`] would refuse is not written.
    pub fn to_bytes(&self) -> Result<Bytes, Error> {
        let limits = Limits::DEFAULT;
        let mut table = Vec::with_capacity(self.snapshot.sections.len());
        let mut frames = Vec::with_capacity(table.capacity());
        for (name, raw) in &self.snapshot.sections {
            let fail =
                |why: std::io::Error| Error::Section { name: name.clone(), why: why.to_string() };
            let frame = zstd::bulk::compress(raw, LEVEL).map_err(fail)?;
            table.push(Section {
                name: name.clone(),
                size: raw.len() as u64,
                stored: frame.len() as u64,
            });
            frames.push(frame);
        }
        let manifest = Manifest { sections: table, ..self.manifest.clone() };
        let stored = check_table(&manifest.sections, &limits)?;
        let json = serde_json::to_vec(&manifest)?;
        check_size("manifest", json.len() as u64, limits.manifest.into())?;
        let length = (HEADER + json.len() + TRAILER) as u64 + stored;
        check_size("image", length, limits.file)?;

        let mut file = Vec::with_capacity(length as usize);
        file.extend_from_slice(&MAGIC);
        file.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        file.extend_from_slice(&(json.len() as u32).to_le_bytes());
        file.extend_from_slice(&json);
        frames.iter().for_each(|frame| file.extend_from_slice(frame));
        let trailer = Sha256::digest(&file);
        file.extend_from_slice(&trailer);
        Ok(file.into())
    }

    /// Reads an image and checks all of it.
    ///
    /// # Errors
    /// Anything that is not exactly one intact image within the limits.
    pub fn from_bytes(file: &[u8], limits: &Limits) -> Result<Self, Error> {
        check_size("image", file.len() as u64, limits.file)?;
        let length = manifest_length(file, limits)?;
        let needs = HEADER + length + TRAILER;
        let has = file.len();
        if has < needs {
            return Err(Error::Truncated { has: has as u64, needs: needs as u64 });
        }
        let (content, trailer) = file.split_at(has - TRAILER);
        if Sha256::digest(content).as_slice() != trailer {
            return Err(Error::Damaged);
        }
        let manifest: Manifest = serde_json::from_slice(&content[HEADER..HEADER + length])?;
        let listed = check_table(&manifest.sections, limits)?;
        let mut rest = &content[HEADER + length..];
        if listed != rest.len() as u64 {
            return Err(Error::Layout { listed, found: rest.len() as u64 });
        }
        let mut sections = BTreeMap::new();
        for section in &manifest.sections {
            let (frame, after) = rest.split_at(section.stored as usize);
            sections.insert(section.name.clone(), unpack(section, frame)?);
            rest = after;
        }
        Ok(Self { manifest, snapshot: Snapshot { sections } })
    }
}

impl Manifest {
    /// Reads the manifest from the first bytes of an image, without the rest. What it says is not
    /// covered by any check until the whole image is read.
    ///
    /// # Errors
    /// [`Error::Truncated`] tells how many bytes are needed; otherwise as [`Image::from_bytes`].
    pub fn read(prefix: &[u8], limits: &Limits) -> Result<Self, Error> {
        let length = manifest_length(prefix, limits)?;
        let json = prefix.get(HEADER..HEADER + length).ok_or(Error::Truncated {
            has: prefix.len() as u64,
            needs: (HEADER + length) as u64,
        })?;
        let manifest: Self = serde_json::from_slice(json)?;
        check_table(&manifest.sections, limits)?;
        Ok(manifest)
    }
}

/// Checks magic and version, and gives the manifest's length, which is within the limit.
fn manifest_length(file: &[u8], limits: &Limits) -> Result<usize, Error> {
    if !file.starts_with(&MAGIC) && !MAGIC.starts_with(file) {
        return Err(Error::NotAnImage);
    }
    let truncated = Error::Truncated { has: file.len() as u64, needs: HEADER as u64 };
    let Some(header) = file.first_chunk::<HEADER>() else { return Err(truncated) };
    let [.., v0, v1, v2, v3, l0, l1, l2, l3] = *header;
    let found = u32::from_le_bytes([v0, v1, v2, v3]);
    if found != FORMAT_VERSION {
        return Err(Error::Version { found, known: FORMAT_VERSION });
    }
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    check_size("manifest", length.into(), limits.manifest.into())?;
    Ok(length as usize)
}

/// Checks names and sizes, and gives the bytes that all the sections take in the file.
fn check_table(sections: &[Section], limits: &Limits) -> Result<u64, Error> {
    if sections.len() > limits.sections {
        return Err(Error::TooMany { count: sections.len(), limit: limits.sections });
    }
    let mut names = BTreeSet::new();
    let (mut raw, mut stored) = (0_u64, 0_u64);
    for Section { name, size, stored: frame } in sections {
        if !is_name(name) {
            return Err(Error::Name(name.chars().take(100).collect()));
        }
        if !names.insert(name) {
            return Err(Error::Twice(name.clone()));
        }
        if *size > limits.section {
            return Err(Error::TooLarge {
                what: format!("section {name}"),
                size: *size,
                limit: limits.section,
            });
        }
        // Saturated sums are over every limit that a file can be under.
        raw = raw.saturating_add(*size);
        stored = stored.saturating_add(*frame);
    }
    check_size("all sections", raw, limits.total)?;
    check_size("all compressed sections", stored, limits.file)?;
    Ok(stored)
}

fn check_size(what: &str, size: u64, limit: u64) -> Result<(), Error> {
    if size <= limit {
        return Ok(());
    }
    Err(Error::TooLarge { what: what.to_owned(), size, limit })
}

/// `links`, `neighbour-tables`, `host/links`.
fn is_name(name: &str) -> bool {
    let is_part = |part: &str| {
        (1..=64).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    match name.split_once('/') {
        Some((prefix, class)) => is_part(prefix) && is_part(class),
        None => is_part(name),
    }
}

/// Decompresses one section: exactly one frame, exactly of the listed size. Memory grows with what
/// comes out, never ahead of it, and ends at the listed size, which has been checked.
fn unpack(section: &Section, frame: &[u8]) -> Result<Bytes, Error> {
    let fail = |why: String| Error::Section { name: section.name.clone(), why };
    let wrong = |why: std::io::Error| fail(format!("not a zstd frame: {why}"));
    let mut decoder = zstd::Decoder::with_buffer(frame).map_err(wrong)?.single_frame();
    decoder.window_log_max(WINDOW_LOG).map_err(wrong)?;
    let mut raw = Vec::with_capacity(section.size.min(FIRST_CAPACITY) as usize);
    decoder.by_ref().take(section.size.saturating_add(1)).read_to_end(&mut raw).map_err(wrong)?;
    if raw.len() as u64 != section.size {
        let more = if raw.len() as u64 > section.size { "more than " } else { "not " };
        return Err(fail(format!("holds {more}the {} bytes that are listed", section.size)));
    }
    match decoder.finish() {
        [] => Ok(raw.into()),
        rest => Err(fail(format!("{} bytes follow its zstd frame", rest.len()))),
    }
}

#[cfg(test)]
#[path = "container_tests.rs"]
mod tests;
