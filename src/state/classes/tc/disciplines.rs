//! The kinds of queueing disciplines: their options (`linux/pkt_sched.h`).

use super::{BITFIELD, NO_OPTIONS, kind_fault, made, steady, told};
use crate::state::table::Shape::{Bytes, I32, I64, Nest, Struct, U8, U16, U32, U64};
use crate::state::table::{Attr, Fate, Field, Map, Shape};
use crate::state::{Fault, Value};

const fn k(id: u16, name: &'static str, shape: Shape) -> Attr {
    Attr::keep(id, name, shape)
}

const fn f(name: &'static str, at: usize, shape: Shape) -> Field {
    Field::new(name, at, shape, Fate::Keep)
}

/// `TCA_OPTIONS` by `TCA_KIND`. What is here may be asked for by an image.
pub const DISCIPLINES: &[(&str, Shape)] = &[
    ("bfifo", FIFO),
    ("cake", Nest(CAKE)),
    ("cbs", Nest(&[k(1, "parms", Struct(CBS))])),
    ("choke", Nest(CHOKE)),
    ("clsact", NO_OPTIONS),
    ("codel", Nest(CODEL)),
    ("drr", NO_OPTIONS),
    ("dualpi2", Nest(DUALPI2)),
    ("etf", Nest(&[k(1, "parms", Struct(ETF))])),
    ("ets", Nest(ETS)),
    ("fq", Nest(FQ)),
    ("fq_codel", Nest(FQ_CODEL)),
    ("fq_pie", Nest(FQ_PIE)),
    ("gred", Bytes),
    ("hfsc", Struct(&[f("defcls", 0, U16)])),
    ("hhf", Nest(HHF)),
    ("htb", Nest(HTB)),
    ("ingress", NO_OPTIONS),
    ("mq", NO_OPTIONS),
    ("mqprio", Shape::Headed(82, MQPRIO, &Nest(MQPRIO_MORE))),
    ("multiq", Struct(&[f("bands", 0, U16), Field::new("max_bands", 2, U16, Fate::Derived)])),
    ("netem", Shape::Headed(24, NETEM, &Nest(NETEM_MORE))),
    ("noqueue", NO_OPTIONS),
    ("pfifo", FIFO),
    ("pfifo_fast", PRIO),
    ("pfifo_head_drop", FIFO),
    ("pie", Nest(PIE)),
    ("plug", Bytes),
    ("prio", PRIO),
    ("qfq", NO_OPTIONS),
    ("red", Nest(RED)),
    ("sfb", Nest(&[k(1, "parms", Struct(SFB))])),
    ("sfq", Struct(SFQ)),
    ("skbprio", Struct(&[f("max_size", 0, U32)])),
    ("taprio", Nest(TAPRIO)),
    ("tbf", Nest(TBF)),
];

/// Kinds that are known and can't be carried, and why.
const NOT_CARRIED: &[(&str, &str)] = &[
    ("gred", "it is set up in several messages of which the kernel tells only the outcome"),
    ("plug", "the kernel tells neither its limit nor whether packets are held in it"),
];

/// What the attributes one by one do not say.
pub fn discipline_faults(value: &Value) -> Vec<Fault> {
    let kind = value.text("kind").unwrap_or_default();
    let mut faults: Vec<_> =
        kind_fault(value, "queueing disciplines", DISCIPLINES).into_iter().collect();
    if let Some((_, why)) = NOT_CARRIED.iter().find(|(name, _)| *name == kind) {
        faults.push(Fault::Object(format!(
            "queueing disciplines of kind {kind} are not carried: {why}"
        )));
    }
    let part = |why: &str| Fault::Part(why.to_owned());
    if matches!(kind, "red" | "choke") {
        faults.push(part(
            "how fast its average decays while idle is not told by the kernel in full: it is set near it",
        ));
    }
    let jitter = ["options.jitter", "options.jitter64"].map(|path| match value.field(path) {
        Some(Value::Signed(number)) => *number != 0,
        _ => value.number(path).is_some_and(|number| number != 0),
    });
    if kind == "netem" && jitter.contains(&true) {
        faults.push(part(
            "a distribution of its delays, if it has one, is not told by the kernel: they come back uniform",
        ));
    }
    faults
}

/// `struct tc_fifo_qopt`.
const FIFO: Shape = Struct(&[f("limit", 0, U32)]);
/// `struct tc_prio_qopt`. The map is of bytes, one for each priority.
const PRIO: Shape = Struct(&[f("bands", 0, I32), f("priomap", 4, Shape::Fixed(16, &Bytes))]);

/// `TCA_HTB_*`.
const HTB: &[Attr] = &[
    k(2, "init", Struct(HTB_GLOB)),
    k(5, "direct_qlen", U32),
    Attr::leave(9, "offload", Shape::Flag),
];
/// `struct tc_htb_glob`.
const HTB_GLOB: &[Field] = &[
    // Told with its minor number, taken without.
    Field::new("version", 0, U32, Fate::Map(Map { sent: major, compared: |version| version })),
    f("rate2quantum", 4, U32),
    f("defcls", 8, U32),
    Field::new("debug", 12, U32, Fate::Strip),
    Field::new("direct_pkts", 16, U32, Fate::Strip),
];

fn major(version: u64) -> u64 {
    if version > 0xffff { version >> 16 } else { version }
}

/// `TCA_TBF_*`.
const TBF: &[Attr] = &[
    k(1, "parms", Struct(TBF_PARMS)),
    told(2, "rtab"),
    told(3, "ptab"),
    k(4, "rate64", U64),
    k(5, "prate64", U64),
    Attr::new(6, "burst", U32, Fate::Made(made::tbf_burst)),
    Attr::new(7, "pburst", U32, Fate::Made(made::tbf_peak_burst)),
    told(8, "pad"),
];
/// `struct tc_tbf_qopt`.
const TBF_PARMS: &[Field] = &[
    f("rate", 0, Shape::Fixed(12, &Struct(made::RATE))),
    f("peakrate", 12, Shape::Fixed(12, &Struct(made::RATE))),
    f("limit", 24, U32),
    f("buffer", 28, U32),
    f("mtu", 32, U32),
];

/// `struct tc_red_qopt`.
const RED_PARMS: &[Field] = &[
    f("limit", 0, U32),
    f("qth_min", 4, U32),
    f("qth_max", 8, U32),
    f("wlog", 12, U8),
    f("plog", 13, U8),
    f("scell_log", 14, U8),
    f("flags", 15, U8),
];
/// `TCA_RED_*`.
const RED: &[Attr] = &[
    k(1, "parms", Struct(RED_PARMS)),
    Attr::new(2, "stab", Bytes, Fate::Made(made::idle_table)),
    k(3, "max_p", U32),
    k(4, "flags", BITFIELD),
    k(5, "early_drop_block", U32),
    k(6, "mark_block", U32),
];
/// `TCA_CHOKE_*`.
const CHOKE: &[Attr] = &[
    k(1, "parms", Struct(RED_PARMS)),
    Attr::new(2, "stab", Bytes, Fate::Made(made::idle_table)),
    k(3, "max_p", U32),
];

/// `struct tc_sfq_qopt_v1`.
const SFQ: &[Field] = &[
    f("quantum", 0, U32),
    f("perturb_period", 4, I32),
    f("limit", 8, U32),
    f("divisor", 12, U32),
    f("flows", 16, U32),
    f("depth", 20, U32),
    f("headdrop", 24, U32),
    f("red_limit", 28, U32),
    f("qth_min", 32, U32),
    f("qth_max", 36, U32),
    f("wlog", 40, U8),
    f("plog", 41, U8),
    f("scell_log", 42, U8),
    f("flags", 43, U8),
    f("max_p", 44, U32),
    // `struct tc_sfqred_stats`.
    Field::new("stats", 48, Shape::Fixed(24, &Bytes), Fate::Strip),
];

/// `struct tc_sfb_qopt`.
const SFB: &[Field] = &[
    f("rehash_interval", 0, U32),
    f("warmup_time", 4, U32),
    f("max", 8, U32),
    f("bin_size", 12, U32),
    f("increment", 16, U32),
    f("decrement", 20, U32),
    f("limit", 24, U32),
    f("penalty_rate", 28, U32),
    f("penalty_burst", 32, U32),
];

/// `TCA_CODEL_*`.
const CODEL: &[Attr] = &[
    Attr::new(1, "target", U32, steady::CODEL),
    k(2, "limit", U32),
    Attr::new(3, "interval", U32, steady::CODEL),
    k(4, "ecn", U32),
    Attr::new(5, "ce_threshold", U32, steady::CODEL),
];
/// `TCA_FQ_CODEL_*`.
const FQ_CODEL: &[Attr] = &[
    Attr::new(1, "target", U32, steady::CODEL),
    k(2, "limit", U32),
    Attr::new(3, "interval", U32, steady::CODEL),
    k(4, "ecn", U32),
    k(5, "flows", U32),
    k(6, "quantum", U32),
    Attr::new(7, "ce_threshold", U32, steady::CODEL),
    k(8, "drop_batch_size", U32),
    k(9, "memory_limit", U32),
    k(10, "ce_threshold_selector", U8),
    k(11, "ce_threshold_mask", U8),
];
/// `TCA_PIE_*`.
const PIE: &[Attr] = &[
    Attr::new(1, "target", U32, steady::PIE),
    k(2, "limit", U32),
    k(3, "tupdate", U32),
    k(4, "alpha", U32),
    k(5, "beta", U32),
    k(6, "ecn", U32),
    k(7, "bytemode", U32),
    k(8, "dq_rate_estimator", U32),
];
/// `TCA_FQ_PIE_*`.
const FQ_PIE: &[Attr] = &[
    k(1, "limit", U32),
    k(2, "flows", U32),
    Attr::new(3, "target", U32, steady::PIE),
    k(4, "tupdate", U32),
    k(5, "alpha", U32),
    k(6, "beta", U32),
    k(7, "quantum", U32),
    k(8, "memory_limit", U32),
    k(9, "ecn_prob", U32),
    k(10, "ecn", U32),
    k(11, "bytemode", U32),
    k(12, "dq_rate_estimator", U32),
];
/// `TCA_DUALPI2_*`.
const DUALPI2: &[Attr] = &[
    k(1, "limit", U32),
    k(2, "memory_limit", U32),
    k(3, "target", U32),
    k(4, "tupdate", U32),
    k(5, "alpha", U32),
    k(6, "beta", U32),
    k(7, "step_thresh_pkts", U32),
    k(8, "step_thresh_us", U32),
    k(9, "min_qlen_step", U32),
    k(10, "coupling", U8),
    k(11, "drop_overload", U8),
    k(12, "drop_early", U8),
    k(13, "c_protection", U8),
    k(14, "ecn_mask", U8),
    k(15, "split_gso", U8),
    told(16, "pad"),
];
/// `TCA_FQ_*`.
const FQ: &[Attr] = &[
    k(1, "plimit", U32),
    k(2, "flow_plimit", U32),
    k(3, "quantum", U32),
    k(4, "initial_quantum", U32),
    k(5, "rate_enable", U32),
    // Of no meaning since 3.15.
    told(6, "flow_default_rate"),
    k(7, "flow_max_rate", U32),
    k(8, "buckets_log", U32),
    k(9, "flow_refill_delay", U32),
    k(10, "orphan_mask", U32),
    k(11, "low_rate_threshold", U32),
    k(12, "ce_threshold", U32),
    k(13, "timer_slack", U32),
    k(14, "horizon", U32),
    k(15, "horizon_drop", U8),
    k(16, "priomap", Bytes),
    k(17, "weights", Bytes),
    k(18, "offload_horizon", U32),
];
/// `TCA_HHF_*`.
const HHF: &[Attr] = &[
    k(1, "backlog_limit", U32),
    k(2, "quantum", U32),
    k(3, "hh_flows_limit", U32),
    k(4, "reset_timeout", U32),
    k(5, "admit_bytes", U32),
    k(6, "evict_timeout", U32),
    k(7, "non_hh_weight", U32),
];
/// `TCA_CAKE_*`.
const CAKE: &[Attr] = &[
    told(1, "pad"),
    k(2, "base_rate64", U64),
    k(3, "diffserv_mode", U32),
    k(4, "atm", U32),
    k(5, "flow_mode", U32),
    k(6, "overhead", I32),
    k(7, "rtt", U32),
    k(8, "target", U32),
    k(9, "autorate", U32),
    k(10, "memory", U32),
    k(11, "nat", U32),
    // There where no overhead was set; it takes back that one is sent, too.
    k(12, "raw", U32),
    k(13, "wash", U32),
    k(14, "mpu", U32),
    k(15, "ingress", U32),
    k(16, "ack_filter", U32),
    k(17, "split_gso", U32),
    k(18, "fwmark", U32),
];
/// `TCA_ETS_*`.
const ETS: &[Attr] = &[
    k(1, "nbands", U8),
    k(2, "nstrict", U8),
    k(3, "quanta", Shape::Repeat(&[k(4, "quantum", U32)])),
    k(5, "priomap", Shape::Repeat(&[k(6, "band", U8)])),
];
/// `struct tc_etf_qopt`.
const ETF: &[Field] = &[f("delta", 0, I32), f("clockid", 4, I32), f("flags", 8, U32)];
/// `struct tc_cbs_qopt`.
const CBS: &[Field] = &[
    f("offload", 0, U8),
    f("hicredit", 4, I32),
    f("locredit", 8, I32),
    f("idleslope", 12, I32),
    f("sendslope", 16, I32),
];

/// `struct tc_netem_qopt`. The first and the last are also told in nanoseconds, which then count.
const NETEM: &[Field] = &[
    f("latency", 0, U32),
    f("limit", 4, U32),
    f("loss", 8, U32),
    f("gap", 12, U32),
    f("duplicate", 16, U32),
    f("jitter", 20, U32),
];
/// `TCA_NETEM_*`.
const NETEM_MORE: &[Attr] = &[
    k(1, "corr", Bytes),
    told(2, "delay_dist"),
    k(3, "reorder", Bytes),
    k(4, "corrupt", Bytes),
    k(5, "loss_model", Nest(&[k(1, "gi", Bytes), k(2, "ge", Bytes)])),
    k(6, "rate", Bytes),
    k(7, "ecn", U32),
    k(8, "rate64", U64),
    told(9, "pad"),
    k(10, "latency64", I64),
    k(11, "jitter64", I64),
    k(12, "slot", Bytes),
    told(13, "slot_dist"),
    k(14, "prng_seed", U64),
];

/// `struct tc_mqprio_qopt`.
const MQPRIO: &[Field] = &[
    f("num_tc", 0, U8),
    f("prio_tc_map", 1, Shape::Fixed(16, &Bytes)),
    f("hw", 17, U8),
    f("count", 18, Shape::Fixed(32, &Bytes)),
    f("offset", 50, Shape::Fixed(32, &Bytes)),
];
/// `TCA_MQPRIO_*`.
const MQPRIO_MORE: &[Attr] = &[
    k(1, "mode", U16),
    k(2, "shaper", U16),
    k(3, "min_rate64", Shape::Repeat(&[k(3, "rate", U64)])),
    k(4, "max_rate64", Shape::Repeat(&[k(4, "rate", U64)])),
    k(5, "tc_entry", Nest(&[k(1, "index", U32), k(2, "fp", U32)])),
];

/// `TCA_TAPRIO_ATTR_*`.
const TAPRIO: &[Attr] = &[
    k(1, "priomap", Struct(MQPRIO)),
    k(2, "sched_entry_list", Shape::List(&Nest(TAPRIO_ENTRY))),
    k(3, "sched_base_time", I64),
    k(4, "sched_single_entry", Bytes),
    k(5, "sched_clockid", I32),
    told(6, "pad"),
    // A schedule that waits for its time, beside the one that runs; only one can be given.
    Attr::refuse(7, "admin_sched"),
    k(8, "sched_cycle_time", I64),
    k(9, "sched_cycle_time_extension", I64),
    k(10, "flags", U32),
    k(11, "txtime_delay", U32),
    k(12, "tc_entry", Nest(&[k(1, "index", U32), k(2, "max_sdu", U32), k(3, "fp", U32)])),
];
/// `TCA_TAPRIO_SCHED_ENTRY_*`.
const TAPRIO_ENTRY: &[Attr] =
    &[k(1, "index", U32), k(2, "cmd", U8), k(3, "gate_mask", U32), k(4, "interval", U32)];
