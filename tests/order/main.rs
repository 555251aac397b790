//! The order of a plan: from any network to any other, every object that a step refers to is there
//! when the step is done. No kernel is asked: the steps are followed one by one.
//!
//! `drawn` draws networks and `model` follows them as a kernel would, with all that a kernel does by
//! itself. `references` knows nothing but the tables, and is for all classes.

mod drawn;
mod kinds;
mod model;
mod references;

use std::collections::BTreeSet;

use drawn::network;
use model::Model;
use netckpt::image::Snapshot;
use netckpt::plan::{Host, Objects, Plan, Terms, plan};
use proptest::prelude::*;

const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const NEWADDR: u16 = 20;
const DELADDR: u16 = 21;
const NEWROUTE: u16 = 24;
const DELROUTE: u16 = 25;
const NEWNEIGH: u16 = 28;
const DELNEIGH: u16 = 29;
const NEWRULE: u16 = 32;
const DELRULE: u16 = 33;
const NEWNEXTHOP: u16 = 104;
const DELNEXTHOP: u16 = 105;
const UP: u32 = 1;

fn planned(from: &Snapshot, to: &Snapshot) -> Plan {
    let terms = Terms { host: Some(Host::default()), queues: 1, scaffold: false };
    plan(&Objects::read(from, 0).unwrap(), &Objects::read(to, 0).unwrap(), &terms).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn every_reference_is_there_before_it_is_used(from in network(), to in network()) {
        let plan = planned(&from, &to);
        let mut model = Model::of(&from);
        model.follow(&plan, &mut BTreeSet::new());
        let wanted = Model::of(&to);
        prop_assert_eq!(model.links, wanted.links);
        prop_assert_eq!(model.addresses, wanted.addresses);
        prop_assert_eq!(model.neighbours, wanted.neighbours);
        prop_assert_eq!(model.nexthops, wanted.nexthops);
        prop_assert_eq!(model.rules, wanted.rules);
        let sorted = |mut routes: Vec<_>| { routes.sort(); routes };
        prop_assert_eq!(sorted(model.routes), sorted(wanted.routes));
    }

    #[test]
    fn what_is_right_needs_no_step(network in network()) {
        prop_assert_eq!(planned(&network, &network), Plan::default());
    }
}
