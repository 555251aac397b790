//! What happened when: the steps of a move, and what a client saw meanwhile. Pure; drawn in the
//! terminal and as SVG.

use std::fmt::Write;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::api::NetCheckpoint;

/// A step: microseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    pub step: String,
    pub begin_micros: i64,
    pub end_micros: i64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl Span {
    fn took(&self) -> f64 {
        (self.end_micros - self.begin_micros) as f64 / 1000.0
    }
}

/// A move.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeline {
    pub pod: String,
    pub from: String,
    pub successor: String,
    pub to: String,
    /// The steps of the controller, in their order.
    pub steps: Vec<Span>,
    /// What the agents did in them, by their own clocks.
    pub agents: Vec<Span>,
}

/// Takes the time of steps.
pub(super) struct Clock {
    start: Instant,
    steps: Vec<Span>,
    open: Option<(String, i64)>,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { start: Instant::now(), steps: Vec::new(), open: None }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// What elapses counts from now.
    pub(super) fn reset(&mut self) {
        self.start = Instant::now();
    }

    pub(super) fn begin(&mut self, step: &str) {
        self.open = Some((step.to_owned(), Timestamp::now().as_microsecond()));
    }

    /// Ends the step that was begun; answers it and how long it took.
    pub(super) fn end(&mut self, detail: &str) -> Option<(String, Duration)> {
        let (step, begin_micros) = self.open.take()?;
        let end_micros = Timestamp::now().as_microsecond();
        let took = u64::try_from(end_micros - begin_micros).unwrap_or_default();
        let detail = detail.to_owned();
        self.steps.push(Span { step: step.clone(), begin_micros, end_micros, detail });
        Some((step, Duration::from_micros(took)))
    }

    pub(super) fn done(
        self,
        pod: &str,
        from: &str,
        successor: &str,
        to: &str,
        checkpoint: Option<&NetCheckpoint>,
    ) -> Timeline {
        Timeline {
            pod: pod.to_owned(),
            from: from.to_owned(),
            successor: successor.to_owned(),
            to: to.to_owned(),
            steps: self.steps,
            agents: checkpoint.map(agents).unwrap_or_default(),
        }
    }
}

/// What the status tells of the agents' work.
fn agents(checkpoint: &NetCheckpoint) -> Vec<Span> {
    let Some(status) = &checkpoint.status else { return Vec::new() };
    let timings = status.timings.clone().unwrap_or_default();
    let mut spans = Vec::new();
    let mut until = |step: &str, end: Option<i64>, millis: Option<i64>| {
        if let (Some(end_micros), Some(millis)) = (end, millis) {
            let begin_micros = end_micros - millis * 1000;
            let step = step.to_owned();
            spans.push(Span { step, begin_micros, end_micros, detail: String::new() });
        }
    };
    let micros =
        |time: &k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime| time.0.as_microsecond();
    until("hold", status.held_at.as_ref().map(micros), timings.hold_ms);
    until("capture", status.captured_at.as_ref().map(micros), timings.capture_ms);
    until("upload", status.stored_at.as_ref().map(micros), timings.upload_ms);
    for restore in &status.restores {
        let (begin, end) = (restore.started_at.as_ref(), restore.completed_at.as_ref());
        if let (Some(begin), Some(end)) = (begin.map(micros), end.map(micros)) {
            until("rebuild", Some(end), Some((end - begin) / 1000));
        }
    }
    spans
}

/// The longest silence between two answers within the times, and where it is.
#[must_use]
pub fn longest_gap(answers: &[i64], begin: i64, end: i64) -> Option<(i64, i64)> {
    let pairs = answers.windows(2).map(|pair| (pair[0], pair[1]));
    pairs.filter(|(from, to)| *to >= begin && *from <= end).max_by_key(|(from, to)| to - from)
}

impl Timeline {
    fn bounds(&self) -> Option<(i64, i64)> {
        let begin = self.steps.iter().map(|span| span.begin_micros).min()?;
        let end = self.steps.iter().map(|span| span.end_micros).max()?;
        Some((begin, end.max(begin + 1)))
    }

    /// For a terminal, about `width` characters wide. `answers` are times of a client's answers.
    #[must_use]
    pub fn text(&self, answers: &[i64], width: usize) -> String {
        let Some((begin, end)) = self.bounds() else { return String::new() };
        let width = width.clamp(60, 200) - 26;
        let place = |micros: i64| {
            let part = (micros - begin) as f64 / (end - begin) as f64;
            ((part.clamp(0.0, 1.0) * width as f64) as usize).min(width - 1)
        };
        let mut text = format!(
            "{} on {} -> {} on {}: {:.0} ms\n",
            self.pod,
            self.from,
            self.successor,
            self.to,
            (end - begin) as f64 / 1000.0
        );
        for (spans, mark) in [(&self.steps, '█'), (&self.agents, '▒')] {
            for span in spans {
                let (from, to) = (place(span.begin_micros), place(span.end_micros));
                let bar: String = (0..width)
                    .map(|at| if (from..=to).contains(&at) { mark } else { '·' })
                    .collect();
                let _ = writeln!(text, "{:<12}{:>9.1} ms {bar}", span.step, span.took());
            }
        }
        if !answers.is_empty() {
            let mut seen = vec![false; width];
            let within = answers.iter().filter(|at| (begin..=end).contains(*at));
            within.for_each(|at| seen[place(*at)] = true);
            let bar: String = seen.iter().map(|one| if *one { '▪' } else { ' ' }).collect();
            let gap = longest_gap(answers, begin, end).map_or(0, |(from, to)| to - from);
            let _ = writeln!(text, "{:<12}{:>9.1} ms {bar}", "client's gap", gap as f64 / 1000.0);
        }
        text
    }
}

/// Moves one below the other, as SVG.
#[must_use]
pub fn svg(moves: &[Timeline], answers: &[i64]) -> String {
    const WIDTH: f64 = 960.0;
    const LEFT: f64 = 130.0;
    const ROW: f64 = 22.0;
    let rows: usize = moves.iter().map(|one| one.steps.len() + one.agents.len() + 4).sum();
    let height = rows as f64 * ROW + 10.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let mut y = ROW;
    for one in moves {
        let Some((begin, end)) = one.bounds() else { continue };
        let x = |micros: i64| {
            let part = (micros - begin) as f64 / (end - begin) as f64;
            LEFT + part.clamp(0.0, 1.0) * (WIDTH - LEFT - 90.0)
        };
        let title = format!(
            "{} on {} → {} on {}, {:.0} ms",
            one.pod,
            one.from,
            one.successor,
            one.to,
            (end - begin) as f64 / 1000.0
        );
        let _ = writeln!(
            svg,
            "<text x=\"8\" y=\"{y}\" font-weight=\"bold\">{}</text>",
            escaped(&title)
        );
        y += ROW;
        for (spans, colour) in [(&one.steps, "#4472a8"), (&one.agents, "#70a56b")] {
            for span in spans {
                let (from, to) = (x(span.begin_micros), x(span.end_micros));
                let _ = writeln!(
                    svg,
                    "<text x=\"8\" y=\"{y}\">{}</text><rect x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" \
                     height=\"12\" fill=\"{colour}\"><title>{}</title></rect><text x=\"{:.1}\" \
                     y=\"{y}\" fill=\"#555\">{:.1} ms</text>",
                    escaped(&span.step),
                    y - 10.0,
                    (to - from).max(1.0),
                    escaped(&span.detail),
                    to + 4.0,
                    span.took(),
                );
                y += ROW;
            }
        }
        client_row(&mut svg, answers, (begin, end), y, &x);
        y += 2.0 * ROW;
    }
    svg.push_str("</svg>\n");
    svg
}

/// The client's answers as ticks, its longest silence as a bar.
fn client_row(
    svg: &mut String,
    answers: &[i64],
    (begin, end): (i64, i64),
    y: f64,
    x: &impl Fn(i64) -> f64,
) {
    if answers.is_empty() {
        return;
    }
    let _ = writeln!(svg, "<text x=\"8\" y=\"{y}\">client's answers</text>");
    let mut last = f64::MIN;
    let mut ticks = String::new();
    for at in answers.iter().filter(|at| (begin..=end).contains(*at)) {
        let at = x(*at);
        // One tick for each pixel: more would not be seen, and there are thousands.
        if at - last >= 1.0 {
            let _ = write!(ticks, "M{at:.1} {:.1}v12", y - 10.0);
            last = at;
        }
    }
    let _ = writeln!(svg, "<path d=\"{ticks}\" stroke=\"#444\" stroke-width=\"0.6\"/>");
    if let Some((from, to)) = longest_gap(answers, begin, end) {
        let (left, right) = (x(from), x(to));
        let _ = writeln!(
            svg,
            "<rect x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"4\" fill=\"#c0504d\"/>\
             <text x=\"{:.1}\" y=\"{y}\" fill=\"#c0504d\">{:.0} ms</text>",
            y - 6.0,
            (right - left).max(1.0),
            right + 4.0,
            (to - from) as f64 / 1000.0
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved() -> Timeline {
        let span = |step: &str, begin: i64, end: i64| Span {
            step: step.into(),
            begin_micros: begin,
            end_micros: end,
            detail: "<detail>".into(),
        };
        Timeline {
            pod: "web".into(),
            from: "node-a".into(),
            successor: "web-x".into(),
            to: "node-b".into(),
            steps: vec![span("hold", 0, 100_000), span("delete", 100_000, 1_000_000)],
            agents: vec![span("capture", 20_000, 25_000)],
        }
    }

    #[test]
    fn the_clients_gap_is_the_longest_within_the_move() {
        let answers = [-9_000_000, -1_000, 50_000, 450_000, 460_000, 1_100_000, 9_000_000];
        assert_eq!(longest_gap(&answers, 0, 1_000_000), Some((460_000, 1_100_000)));
        assert_eq!(longest_gap(&answers[1..5], 0, 1_000_000), Some((50_000, 450_000)));
        assert_eq!(longest_gap(&[], 0, 1), None);
    }

    #[test]
    fn it_is_drawn() {
        let answers: Vec<i64> =
            (0..40).map(|n| n * 2_000).chain((300..500).map(|n| n * 2_000)).collect();
        let text = moved().text(&answers, 100);
        assert!(text.contains("hold") && text.contains("client's gap"), "{text}");
        assert!(text.contains("522.0 ms"), "{text}");
        let svg = svg(&[moved(), moved()], &answers);
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert_eq!(svg.matches("522 ms").count(), 2);
        assert!(!svg.contains("<detail>"), "what comes from outside is escaped");
    }

    #[test]
    fn a_move_without_steps_is_not_drawn() {
        assert!(Timeline::default().text(&[], 80).is_empty());
        assert!(svg(&[Timeline::default()], &[]).contains("</svg>"));
    }
}
