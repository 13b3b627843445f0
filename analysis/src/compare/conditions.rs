//! What a comparison says of the conditions of its sides: what differs, what is not known, and how quiet the
//! machine was.

use super::{Comparison, Side};
use crate::differences::Difference;

impl Comparison {
    /// The lines of a summary.
    pub(super) fn condition_lines(&self) -> Vec<String> {
        let mut lines = vec![self.difference_line(true), self.difference_line(false)];
        if self.differences.iter().any(|difference| difference.slower.is_some()) {
            lines.push(
                "The machine itself was in another state: what that makes slower or faster looks like \
                 the update. Measure the sides on one machine, in turns."
                    .to_owned(),
            );
        }
        lines.extend(["before", "after"].into_iter().zip(&self.sides).map(quiet_line));
        lines
    }

    fn difference_line(&self, decides_latencies: bool) -> String {
        let chosen = self.differences.iter().filter(|d| d.decides_latencies == decides_latencies);
        let differences: Vec<String> = chosen.map(Difference::to_string).collect();
        let loads = self.sides.each_ref().map(|side| side.load_average);
        let load = match loads {
            [Some(before), Some(after)] => {
                let range = |[least, most]: [f64; 2]| format!("{least:.1}–{most:.1}");
                format!("load average at start {} before, {} after", range(before), range(after))
            }
            _ => "load average unknown".to_owned(),
        };
        match (decides_latencies, differences.is_empty()) {
            (true, true) if self.unknown.is_empty() => {
                "No recorded difference that affects latencies (A/A).".to_owned()
            }
            (true, true) => {
                format!("No recorded difference that affects latencies.{}", self.unknown())
            }
            (true, false) => format!("Changed: {}.{}", differences.join("; "), self.unknown()),
            (false, true) => format!("Environment: {load}."),
            (false, false) => format!("Environment: {}; {load}.", differences.join("; ")),
        }
    }

    fn unknown(&self) -> String {
        if self.unknown.is_empty() {
            return String::new();
        }
        let unknown: Vec<String> = self.unknown.iter().map(ToString::to_string).collect();
        format!(" Unknown, may differ: {}.", unknown.join(", "))
    }
}

fn quiet_line((when, side): (&str, &Side)) -> String {
    match &side.quiet {
        None => format!("Disturbed {when}: not recorded."),
        Some(quiet) if quiet.is_enough() => format!("Disturbed {when}: {}.", quiet.in_words()),
        Some(quiet) => format!(
            "Disturbed {when}: {}. That is not quiet enough: what disturbed this side looks like a \
             difference.",
            quiet.in_words()
        ),
    }
}
