//! The agent's metrics. All labels are bounded: reasons are the ones of the conditions.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByStep {
    step: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRole {
    role: Role,
}

/// The two ends of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    Source,
    Destination,
}

impl EncodeLabelValue for Role {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.write_str(match self {
            Self::Source => "source",
            Self::Destination => "destination",
        })
    }
}

/// Counters and histograms, shared by cloning.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    captures: Family<ByReason, Counter>,
    restores: Family<ByReason, Counter>,
    steps: Family<ByStep, Histogram>,
    image_bytes: Histogram,
    in_flight: Family<ByRole, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("netckpt");
        let captures = Family::default();
        let restores = Family::default();
        // From 100 µs to about 50 s.
        let steps = Family::new_with_constructor(durations as fn() -> Histogram);
        // From 1 KiB to 256 MiB.
        let image_bytes = Histogram::new(exponential_buckets(1024.0, 4.0, 10));
        let in_flight = Family::default();
        registry.register("captures", "Checkpoints ended, by reason", captures.clone());
        registry.register("restores", "Restores ended, by reason", restores.clone());
        registry.register_with_unit(
            "step_duration",
            "Time of one step of a checkpoint or restore",
            Unit::Seconds,
            steps.clone(),
        );
        registry.register_with_unit(
            "image_size",
            "Size of the images made",
            Unit::Bytes,
            image_bytes.clone(),
        );
        registry.register("in_flight", "Checkpoints and restores in hand", in_flight.clone());
        Self { registry: Arc::new(registry), captures, restores, steps, image_bytes, in_flight }
    }
}

fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 2.0, 20))
}

impl Metrics {
    /// A checkpoint ended, with the reason of its condition.
    pub fn captured(&self, reason: &'static str) {
        self.captures.get_or_create(&ByReason { reason }).inc();
    }

    /// A restore ended, with the reason of its condition.
    pub fn restored(&self, reason: &'static str) {
        self.restores.get_or_create(&ByReason { reason }).inc();
    }

    /// A step took this long: `capture`, `upload`, `download`, `rebuild` and so on.
    pub fn took(&self, step: &'static str, time: Duration) {
        self.steps.get_or_create(&ByStep { step }).observe(time.as_secs_f64());
    }

    /// An image of this many bytes was made.
    pub fn image(&self, bytes: u64) {
        #[allow(clippy::cast_precision_loss, reason = "a histogram's sum is a float")]
        self.image_bytes.observe(bytes as f64);
    }

    /// Counts one piece of work as in hand until the guard is dropped.
    #[must_use]
    pub fn in_flight(&self, role: Role) -> InFlight {
        let gauge = self.in_flight.get_or_create_owned(&ByRole { role });
        gauge.inc();
        InFlight(gauge)
    }

    /// The OpenMetrics text.
    pub(super) fn text(&self) -> Result<String, std::fmt::Error> {
        let mut into = String::new();
        text::encode(&mut into, &self.registry)?;
        Ok(into)
    }
}

/// One piece of work in hand.
#[derive(Debug)]
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
