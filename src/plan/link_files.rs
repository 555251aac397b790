//! Files of links: only what differs is written, once the links are there.

use super::difference::delta;
use super::draft::{Draft, Sides};
use super::link::Link;
use super::raw::{Raw, text};
use super::{Action, Stage};
use crate::state::Object;
use crate::state::classes::link_files::{HEADER, IFF_ONE_QUEUE, PATH, TUN_FLAGS, VALUE, by_itself};
use crate::state::classes::{LINK_FILES, LINKS};

/// Plans them all.
pub fn plan(sides: &Sides<'_>, draft: &mut Draft) {
    let links = Link::all(sides.to.of(&LINKS));
    let index = |object: &Object| Raw::new(&object.bytes, HEADER).header_u32(4);
    let gone = draft.gone.clone();
    let from: Vec<Object> = sides
        .from
        .of(&LINK_FILES)
        .iter()
        .filter(|file| !gone.contains(&index(file)))
        .cloned()
        .collect();
    let delta = delta(&from, sides.to.of(&LINK_FILES), |_| true);
    let mut write = |object: &Object, usual: bool| {
        let raw = Raw::new(&object.bytes, HEADER);
        let at = |id| raw.attribute(id).and_then(text).unwrap_or_default();
        let path = at(PATH);
        if path == TUN_FLAGS {
            return;
        }
        let value = if usual { by_itself(path).unwrap_or_default() } else { at(VALUE) };
        let link = links.iter().find(|link| link.index == index(object));
        // A name that leads elsewhere is no name of a link.
        let Some(link) =
            link.filter(|link| !link.name.contains('/') && !link.name.starts_with('.'))
        else {
            return;
        };
        let label = format!("{}/{path} = {value}", link.name);
        let path = format!("class/net/{}/{path}", link.name);
        let action = Action::LinkFile { path, value: value.as_bytes().to_vec() };
        draft.act(Stage::LateLinks, &LINK_FILES, label, action);
    };
    for object in &delta.removed {
        write(object, true);
    }
    for object in delta.added.into_iter().chain(delta.changed.iter().map(|changed| changed.to)) {
        write(object, false);
    }
}

/// Flags of a tun that its own message does not tell.
pub fn tun_flags(index: u32, sides: &Sides<'_>) -> u32 {
    let is = |file: &Object| {
        let raw = Raw::new(&file.bytes, HEADER);
        raw.header_u32(4) == index && raw.attribute(PATH).and_then(text) == Some(TUN_FLAGS)
    };
    if sides.to.of(&LINK_FILES).iter().any(is) { IFF_ONE_QUEUE } else { 0 }
}
