//! Verify is able to fail: whatever is not as the image says is named.
//!
//! Everything is by the tables, for each class that there is and those that come: an object that is
//! missing or too much, a bit of an attribute that counts, an object that is taken away from a rebuilt
//! namespace by the kernel's own message for it, a file with another value.

#[path = "../everything/mod.rs"]
mod everything;
#[path = "../netns/mod.rs"]
mod netns;

mod bits;
mod live;
mod objects;

use std::sync::LazyLock;

use netckpt::image::Image;
use netckpt::state::Object;

/// The image of a pod with everything at once.
static IMAGE: LazyLock<Image> = LazyLock::new(|| everything::image(&everything::pod("mutation")));

/// Whether objects of this key are told apart by their order only, so that without one of them it is
/// the last that is missing.
fn is_by_order(objects: &[Object], object: &Object) -> bool {
    objects.iter().filter(|other| bare(&other.key) == bare(&object.key)).count() > 1
}

/// A key without the number that tells equal ones apart.
fn bare(key: &str) -> &str {
    match key.rsplit_once(" #") {
        Some((bare, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => bare,
        _ => key,
    }
}
