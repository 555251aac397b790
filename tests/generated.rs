//! Documents that are generated from the code. `NETCKPT_UPDATE=1 cargo test --test generated` writes
//! them anew.

use std::path::Path;

/// The file holds that text; with `NETCKPT_UPDATE=1` it is made so.
fn holds(path: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("NETCKPT_UPDATE").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let advice = "is not what the code makes: NETCKPT_UPDATE=1 cargo test --test generated";
    assert!(found == text, "{} {advice}", path.display());
}

#[test]
fn the_api_reference_is_the_types() {
    holds("docs/api-reference.md", &netckpt::api::reference::markdown());
}

#[test]
fn the_fidelity_of_each_class_is_its_table() {
    holds("docs/fidelity.md", &netckpt::state::fidelity::page());
}
