//! The container: no bytes make the reader panic, allocate beyond its limits, or accept what it would
//! not write.

use netckpt::image::{Image, Limits, Manifest};
use netckpt::restore;
use sha2::{Digest, Sha256};

/// Small, so that a run is fast and an allocation beyond them is seen.
const LIMITS: Limits =
    Limits { file: 1 << 20, manifest: 64 << 10, sections: 64, section: 1 << 20, total: 4 << 20 };

/// The bytes as they are, and with the SHA-256 that makes them pass.
pub fn run(data: &[u8]) {
    let manifest = Manifest::read(data, &LIMITS);
    if let Ok(image) = Image::from_bytes(data, &LIMITS) {
        assert_eq!(manifest.expect("the whole has a manifest"), image.manifest);
    }
    let mut sealed = data.to_vec();
    sealed.extend_from_slice(&Sha256::digest(data));
    if let Ok(image) = Image::from_bytes(&sealed, &LIMITS) {
        let total: usize = image.snapshot.sections.values().map(|section| section.len()).sum();
        assert!(total as u64 <= LIMITS.total);
        let again = image.to_bytes().expect("what is read can be written");
        let back = Image::from_bytes(&again, &Limits::DEFAULT).expect("and read again");
        assert_eq!(back.snapshot, image.snapshot);
        // What a restore may be given is as itself.
        if let Ok(found) = restore::compare(&image, &image) {
            assert!(found.is_empty(), "{found:?}");
        }
    }
}

pub fn seeds(image: &[u8]) -> Vec<Vec<u8>> {
    // Without the SHA-256, which `run` adds.
    vec![image[..image.len() - 32].to_vec(), image.to_vec()]
}
