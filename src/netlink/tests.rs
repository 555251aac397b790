//! The socket against the kernel, in namespaces of their own.

use super::*;
use crate::netns::Namespace;

const RTM_NEWLINK: u16 = 16;
const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;
const RTM_GETRULE: u16 = 34;
const RTNLGRP_IPV4_RULE: u32 = 8;
const RULES: [u8; 12] = [libc::AF_INET as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// Those that every namespace has.
const RULES_OF_THE_KERNEL: usize = 3;

fn inside<T: Send>(work: impl FnOnce(&mut Socket) -> T + Send) -> T {
    let open = || work(&mut Socket::open(Protocol::Route).unwrap());
    Namespace::create().unwrap().run(open).unwrap()
}

/// A rule to look up table 100.
fn rule(kind: u16, priority: u32) -> Vec<u8> {
    let flags = if kind == RTM_NEWRULE { libc::NLM_F_CREATE | libc::NLM_F_EXCL } else { 0 };
    let header = [libc::AF_INET as u8, 0, 0, 0, 100, 0, 0, 1, 0, 0, 0, 0];
    let mut message = Builder::new(kind, flags as u16, &header);
    message.put_u32(6, priority);
    message.finish()
}

fn count(bytes: &[u8]) -> usize {
    messages(bytes).map(Result::unwrap).count()
}

#[test]
fn a_refusal_has_the_kernels_words() {
    let error = inside(|socket| {
        let mut message = Builder::new(RTM_NEWRULE, libc::NLM_F_CREATE as u16, &RULES);
        message.put(6, &[1]);
        socket.request(message.finish()).unwrap_err()
    });
    assert!(matches!(error.errno(), Some(libc::EINVAL | libc::ERANGE)), "{error}");
    let Error::Refused(refusal) = &error else { panic!("{error}") };
    assert!(refusal.message.is_some() && refusal.offset.is_some(), "{refusal:?}");
    assert!(error.to_string().starts_with("the kernel refused: "), "{error}");
}

#[test]
fn an_answer_that_is_too_large_is_not_taken() {
    let (error, kept) = inside(|socket| {
        let mut kept = vec![1, 2, 3, 4];
        let whole = socket.dump(RTM_GETRULE, &RULES).unwrap().bytes.len();
        socket.largest = whole - 1;
        (socket.dump_into(RTM_GETRULE, &RULES, &mut kept).unwrap_err(), kept)
    });
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    assert_eq!(kept, [1, 2, 3, 4], "nothing of it stays");
    assert_eq!(socket::LARGEST as u64, crate::image::Limits::DEFAULT.section);
}

#[test]
fn a_batch_is_judged_message_by_message() {
    let (refused, left) = inside(|socket| {
        // More than is sent at once; each hundredth is there already.
        let priority = |at: u32| if at % 100 == 99 { at - 1 } else { at };
        let all: Vec<_> = (0..1_200).map(|at| rule(RTM_NEWRULE, 10_000 + priority(at))).collect();
        let refused = socket.batch(all.iter().map(Vec::as_slice)).unwrap();
        (refused, count(&socket.dump(RTM_GETRULE, &RULES).unwrap().bytes))
    });
    let places: Vec<_> = refused.iter().map(|(place, _)| *place).collect();
    assert_eq!(places, (0..12).map(|hundred| hundred * 100 + 99).collect::<Vec<_>>());
    assert!(refused.iter().all(|(_, refusal)| refusal.errno == libc::EEXIST));
    assert_eq!(left, 1_188 + RULES_OF_THE_KERNEL);
}

/// 1,000 rules of some 60 bytes do not fit what the kernel gives at once.
#[test]
fn a_long_dump_is_whole_and_the_same_each_time() {
    let (first, second) = inside(|socket| {
        let all: Vec<_> = (0..1_000).map(|at| rule(RTM_NEWRULE, 10_000 + at)).collect();
        assert_eq!(socket.batch(all.iter().map(Vec::as_slice)).unwrap(), []);
        let first = socket.dump(RTM_GETRULE, &RULES).unwrap();
        (first, socket.dump(RTM_GETRULE, &RULES).unwrap())
    });
    assert_eq!(count(&first.bytes), 1_000 + RULES_OF_THE_KERNEL);
    assert!(!first.interrupted);
    assert_eq!(first, second, "sequence number and port are not kept");
}

#[test]
fn changes_are_told_to_who_subscribed() {
    let events = inside(|socket| {
        let mut watching = Socket::open(Protocol::Route).unwrap();
        watching.subscribe(&[RTNLGRP_IPV4_RULE]).unwrap();
        assert_eq!(watching.events().unwrap(), Events::default());
        socket.request(rule(RTM_NEWRULE, 10_000)).unwrap();
        socket.request(rule(RTM_DELRULE, 10_000)).unwrap();
        watching.events().unwrap()
    });
    let kinds: Vec<_> = messages(&events.bytes).map(|message| message.unwrap().kind).collect();
    assert_eq!(kinds, [RTM_NEWRULE, RTM_DELRULE]);
    assert!(!events.lost);
}

/// Nobody takes the events until the receive buffer is full.
#[test]
fn lost_events_are_told() {
    let events = inside(|socket| {
        let mut watching = Socket::open(Protocol::Route).unwrap();
        watching.subscribe(&[RTNLGRP_IPV4_RULE]).unwrap();
        let turn = [rule(RTM_NEWRULE, 10_000), rule(RTM_DELRULE, 10_000)];
        let many = turn.iter().map(Vec::as_slice).cycle().take(60_000);
        assert_eq!(socket.batch(many).unwrap(), []);
        watching.events().unwrap()
    });
    assert!(events.lost);
    assert!(!events.bytes.is_empty());
}

#[test]
fn a_group_that_is_none_is_an_error() {
    let error = inside(|socket| socket.subscribe(&[100_000]).unwrap_err());
    assert!(error.to_string().starts_with("netlink socket (subscribe)"), "{error}");
}

#[test]
fn one_object_is_got() {
    let (found, missing) = inside(|socket| {
        let get = |socket: &mut Socket, index: u8| {
            let mut header = [0; 16];
            header[4] = index;
            socket.get(18, &header)
        };
        (get(socket, 1).unwrap(), get(socket, 99).unwrap_err())
    });
    let all: Vec<_> = messages(&found).map(Result::unwrap).collect();
    assert_eq!((all.len(), all[0].kind), (1, RTM_NEWLINK));
    assert_eq!(missing.errno(), Some(libc::ENODEV));
}
