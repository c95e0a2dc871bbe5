//! Small plots of times, for a terminal and for a pipe.

use crate::units;

/// The widest bar and the longest line, in columns.
const WIDTH: usize = 50;

/// The rows of a histogram.
const ROWS: usize = 8;

/// What plots are drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    /// Blocks, an eighth of a character fine.
    Blocks,
    /// ASCII.
    Plain,
}

impl Ink {
    /// Returns what suits standard output: blocks on a terminal.
    pub(crate) fn of_stdout() -> Self {
        let plain =
            anstream::AutoStream::choice(&std::io::stdout()) == anstream::ColorChoice::Never;
        if plain { Self::Plain } else { Self::Blocks }
    }

    /// Draws a bar that is `share` of the widest one; nothing is nothing, anything can be seen.
    fn bar(self, share: f64) -> String {
        const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
        let eighths = (share.clamp(0.0, 1.0) * (WIDTH * 8) as f64).ceil() as usize;
        match self {
            Self::Blocks => "█".repeat(eighths / 8) + PARTS[eighths % 8],
            Self::Plain => "#".repeat(eighths.div_ceil(8)),
        }
    }
}

/// One step of a histogram: values up to `upto`, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) upto: f64,
    pub(crate) count: u64,
}

/// Sorts values into steps of equal width that hold nearly all of them; what is longer than the
/// 99th percentile goes into one more.
pub(crate) fn steps(sorted: &[f64]) -> Vec<Step> {
    let (Some(first), Some(p99), Some(last)) = (
        sorted.first().copied(),
        units::percentile(sorted, 99.0),
        sorted.last().copied(),
    ) else {
        return Vec::new();
    };
    let width = round_up((p99 - first) / (ROWS - 1) as f64);
    let start = (first / width).floor() * width;
    let mut steps: Vec<Step> = Vec::new();
    let mut below = 0;
    for row in 1..=ROWS {
        let upto = start + width * row as f64;
        let upto_here = sorted.partition_point(|value| *value <= upto);
        let count = (upto_here - below) as u64;
        steps.push(Step { upto, count });
        below = upto_here;
        if upto >= p99 {
            break;
        }
    }
    if below < sorted.len() {
        let count = (sorted.len() - below) as u64;
        steps.push(Step { upto: last, count });
    }
    steps
}

/// Returns the next of 1, 2 and 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    // Below a microsecond there is nothing to see.
    let value = value.max(0.001);
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    // A hair's breadth beyond a step is that step.
    steps
        .into_iter()
        .find(|step| *step >= value * 0.999)
        .unwrap_or(power * 10.0)
}

/// Draws a histogram of milliseconds, a line for each step.
pub(crate) fn histogram(steps: &[Step], ink: Ink) -> Vec<String> {
    let most = steps.iter().map(|step| step.count).max().unwrap_or(0);
    let digits = steps.windows(2).map(|pair| pair[1].upto - pair[0].upto);
    let finest = digits.fold(f64::INFINITY, f64::min);
    let digits = match finest {
        step if step < 0.0095 => 3,
        step if step < 0.095 => 2,
        step if step < 0.95 => 1,
        _ => usize::from(!finest.is_finite()) * 2,
    };
    let line = |step: &Step| {
        let bar = ink.bar(step.count as f64 / most.max(1) as f64);
        let Step { upto, count } = step;
        let gap = if bar.is_empty() { "" } else { " " };
        format!("<= {upto:>8.digits$} ms  {bar}{gap}{count}")
    };
    steps.iter().map(line).collect()
}

/// Draws values in their order as one line of bars, from 0 to the largest; `None` is a gap.
///
/// Each bar is the largest of its neighbours when there are more than fit.
pub(crate) fn sparkline(values: &[Option<f64>]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = values.iter().flatten().copied().fold(0.0, f64::max);
    let per_bar = values.len().div_ceil(WIDTH).max(1);
    let bars = values.chunks(per_bar).map(|chunk| {
        if chunk.iter().any(Option::is_none) {
            return '×';
        }
        let value = chunk.iter().flatten().copied().fold(0.0, f64::max);
        let level = value / most.max(f64::MIN_POSITIVE) * (BARS.len() - 1) as f64;
        BARS[(level.round() as usize).min(BARS.len() - 1)]
    });
    bars.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_hold_everything() {
        let mut values: Vec<f64> = (0..200).map(|n| 0.5 + f64::from(n) / 200.0).collect();
        values.push(40.0);
        let steps = steps(&values);
        assert_eq!(steps.iter().map(|step| step.count).sum::<u64>(), 201);
        assert!(steps.len() <= ROWS + 1, "{steps:?}");
        assert_eq!(steps[0].upto, 0.6000000000000001);
        let last = steps.last().unwrap();
        assert_eq!((last.upto, last.count), (40.0, 1));
    }

    #[test]
    fn a_single_value_is_one_step() {
        let steps = steps(&[1.0, 1.0]);
        assert_eq!(steps.iter().map(|step| step.count).sum::<u64>(), 2);
        assert_eq!(histogram(&steps, Ink::Plain).len(), steps.len());
        assert!(super::steps(&[]).is_empty());
    }

    #[test]
    fn bars_have_units_and_numbers() {
        let steps = [
            Step {
                upto: 0.2,
                count: 10,
            },
            Step {
                upto: 0.4,
                count: 1,
            },
            Step {
                upto: 0.6,
                count: 0,
            },
        ];
        let plain = histogram(&steps, Ink::Plain);
        assert_eq!(plain[0], format!("<=      0.2 ms  {} 10", "#".repeat(50)));
        assert_eq!(plain[1], "<=      0.4 ms  ##### 1");
        assert_eq!(plain[2], "<=      0.6 ms  0");
        let blocks = histogram(&steps, Ink::Blocks);
        assert_eq!(blocks[1], "<=      0.4 ms  █████ 1");
    }

    #[test]
    fn a_line_shows_order_and_gaps() {
        let values = [Some(0.0), Some(7.0), None, Some(3.5)];
        assert_eq!(sparkline(&values), "▁█×▅");
        let many: Vec<_> = (0..1000).map(|n| Some(f64::from(n))).collect();
        assert_eq!(sparkline(&many).chars().count(), WIDTH);
        assert_eq!(sparkline(&[]), "");
    }
}
