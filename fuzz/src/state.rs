//! The tables: whatever a section of an image from outside holds, it is printed, checked, compared and
//! made a replay of without a panic, and what is replayed is well-formed netlink.
//!
//! An input is the class's name, a zero byte, and the section.

use netckpt::image::{Image, Limits};
use netckpt::netlink::messages;
use netckpt::state::table::{Class, Source};
use netckpt::state::{
    Fault, Names, age, check, check_section, class, compare, objects, replay, replay_where,
    to_json, unknown,
};

pub fn run(data: &[u8]) {
    let Some((name, section)) = split(data) else { return };
    let Some(class) = class(name) else { return };
    let names = Names::of(section);
    let problems = check_section(class, section, &names);
    problems.iter().for_each(|problem| drop(problem.to_string()));
    let _ = age(class, section, 3600);
    let Ok(all) = objects(class, section) else { return };
    for object in &all {
        let _ = object.label(&names);
        serde_json::to_string(&to_json(&object.value())).expect("a value is JSON");
        assert!(compare(object, object).is_empty(), "{} differs from itself", object.key);
        let _ = unknown(class, &object.bytes);
        if !matches!(class.source, Source::Sysctl) && class.make != 0 {
            let message = replay(class, &object.bytes, 0);
            let mut read = messages(&message);
            assert!(read.next().is_some_and(|message| message.is_ok()), "{}", object.key);
            assert!(read.next().is_none(), "{}", object.key);
            allowed(class, &object.bytes, &names);
        }
    }
    for pair in all.windows(2) {
        let _ = compare(&pair[0], &pair[1]);
    }
}

/// What no table allows is never sent: of what is replayed all is known, and nothing refused.
fn allowed(class: &'static Class, message: &[u8], names: &Names) {
    let told = replay_where(class, message, class.tells, 0, |_| true);
    for problem in check(class, &told, names) {
        let sent = matches!(problem.fault, Fault::Unknown | Fault::Left | Fault::Refused);
        assert!(!sent, "{}: it is sent: {problem}", class.name);
    }
}

fn split(data: &[u8]) -> Option<(&str, &[u8])> {
    let end = data.iter().take(64).position(|byte| *byte == 0)?;
    Some((std::str::from_utf8(&data[..end]).ok()?, &data[end + 1..]))
}

pub fn seeds(image: &[u8]) -> Vec<Vec<u8>> {
    let image = Image::from_bytes(image, &Limits::DEFAULT).expect("an image");
    image.snapshot.sections.iter().map(|(name, section)| seed(name, section)).collect()
}

pub fn seed(class: &str, section: &[u8]) -> Vec<u8> {
    [class.as_bytes(), &[0], section].concat()
}
