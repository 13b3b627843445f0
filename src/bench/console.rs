//! What the person who runs the benchmarks sees: results on standard output, one line a
//! configuration; progress and complaints on standard error.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the one place that prints")]

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use crate::backend::LaunchTime;
use crate::environment::Platform;
use crate::record::{ConfigurationRecord, Outcome, Session};
use crate::run::{MOST_ATTEMPTS, Run, RunEvent};
use crate::settings::Settings;
use crate::statistics::Summary;
use crate::units::Nanoseconds;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Says what went wrong, and why.
pub fn error(error: &(impl std::fmt::Display + ?Sized)) {
    eprintln!("error: {error}");
}

/// Prints a line; a reader that has gone away (`| head`) is no error.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Says something that is not a result.
pub fn warn(line: &str) {
    eprintln!("{line}");
}

/// What will be measured, and why not on a GPU.
pub fn backend(settings: &Settings, why_cpu: Option<&str>) {
    say(&format!("alpha-flops: {settings}"));
    if let Some(reason) = why_cpu {
        say(&format!("on the CPU: {reason}"));
    }
}

/// On what it will be measured, and what that costs by itself.
pub fn platform(platform: &Platform, session: &Session) {
    let Platform { backend, device, .. } = platform;
    say(&format!("device: {device} ({backend}), {}", platform.versions()));
    let Some(gpu) = &platform.gpu else { return };
    if gpu.is_stand_in() {
        say("NOT A GPU: a stand-in computes, and no time below is a measurement of anything");
    }
    if let Some(reason) = &gpu.nvml_missing {
        warn(&format!("no clocks, temperature or throttling in the record: {reason}"));
    }
    let LaunchTime { host_ns, device_ns, .. } = session.empty_launch;
    let on_device = device_ns.map(|ns| format!(", {} by the device", Nanoseconds(ns)));
    say(&format!(
        "an empty launch takes {} by the host{}",
        Nanoseconds(host_ns),
        on_device.unwrap_or_default()
    ));
}

/// Which run this is, and whether it goes on from an earlier one.
pub fn opened(run: &Run) {
    let header = run.folder.header();
    let path = run.folder.path().display();
    if header.sessions.len() == 1 {
        say(&format!("run: {path}, seed {}", header.seed));
    } else {
        let (done, all) = (run.done_before, run.order.len());
        say(&format!(
            "run: {path}, seed {}; resuming the unfinished run begun {} with the same \
             settings: {done} of {all} configurations are measured",
            header.seed, header.started
        ));
    }
    for damaged in &run.damaged {
        warn(&format!("measured again: {damaged}"));
    }
    say(&format!(
        "{:<36} {:>10}  {:>7}  {:>9}  {:>8}",
        "configuration", "median", "IQR/med", "outliers*", "launches"
    ));
}

pub fn progress(run: &Run) -> Progress {
    let bar = bar((run.order.len() - run.done_before) as u64, "{prefix}");
    bar.set_prefix("measuring");
    Progress { bar }
}

pub fn criterion_progress(benchmarks: u64) -> ProgressBar {
    let bar = bar(benchmarks, "criterion's statistics");
    bar.set_message("");
    bar
}

/// What criterion's bootstrap and files cost.
pub fn criterion_cost(benchmarks: usize, took: Duration) {
    let each_ms = took.as_secs_f64() * 1e3 / benchmarks.max(1) as f64;
    say(&format!(
        "criterion: statistics of {benchmarks} configurations in {:.1} s, {each_ms:.1} ms each",
        took.as_secs_f64()
    ));
}

/// What was measured and what was not, and where it is.
pub fn finished(run: &Run) -> ExitCode {
    let header = run.folder.header();
    let (mut measured, mut failed, mut throttled, mut bound) = (0, 0, 0, 0);
    for record in &header.configurations {
        throttled += usize::from(record.outcome.is_throttled());
        bound += usize::from(record.outcome.is_bound_by_submission());
        match &record.outcome {
            Outcome::Measured { .. } => measured += 1,
            Outcome::Skipped { reason } => say(&format!("skipped {}: {reason}", record.id)),
            Outcome::Failed { reason, .. } => {
                failed += 1;
                warn(&format!("failed {}: {reason}", record.id));
            }
        }
    }
    if bound > 0 {
        say(&format!(
            "{bound} configurations take about as long as submitting them: their time by the \
             device may be its waiting (ALPHA_FLOPS_PROTOCOL=throughput overlaps the two)"
        ));
    }
    if throttled > 0 {
        warn(&format!(
            "{throttled} configurations were measured while the device was throttled, in the last \
             of {MOST_ATTEMPTS} attempts too: their times are those of a slower device"
        ));
    }
    say("* mild+severe: launches outside 1.5 and 3 IQR from the quartiles (Tukey)");
    say(&format!(
        "measured {measured} of {} configurations; record: {}",
        header.configurations.len(),
        run.folder.path().display()
    ));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The bar with the time left, and a line for each configuration done.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub fn show(&mut self, event: &RunEvent<'_>) {
        match event {
            RunEvent::Verified(verified) => self.bar.suspend(|| {
                say(&format!("outputs of {verified} configurations agree with direct sums"));
            }),
            RunEvent::Started(configuration) => self.bar.set_message(configuration.id()),
            RunEvent::Done { record, time_left } => {
                self.bar.suspend(|| say(&line(record)));
                self.bar.set_prefix(match time_left {
                    Some(left) => format!("measuring, {} left", rounded(*left)),
                    None => "measuring".to_owned(),
                });
                // further attempts come when the bar is full
                self.bar.inc(u64::from(record.attempts == 1));
            }
        }
    }

    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// A bar on standard error, where that is a terminal.
fn bar(length: u64, label: &str) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(length), target);
    // an id longer than the terminal is wide would break the line: it comes last and is cut
    let template = format!("[{{bar:24}}] {{pos}}/{{len}} {label} {{wide_msg}}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

fn line(record: &ConfigurationRecord) -> String {
    match &record.outcome {
        Outcome::Measured { summary, .. } => {
            let throttled = if record.outcome.is_throttled() { "  throttled" } else { "" };
            measured_line(&record.id, summary) + throttled
        }
        Outcome::Skipped { reason } => format!("{:<36} skipped: {reason}", record.id),
        Outcome::Failed { reason, .. } => format!("{:<36} failed: {reason}", record.id),
    }
}

fn measured_line(id: &str, summary: &Summary) -> String {
    format!(
        "{id:<36} {:>10}  {:>6.1}%  {:>9}  {:>8}",
        Nanoseconds(summary.median_ns),
        100.0 * summary.relative_iqr(),
        format!("{}+{}", summary.outliers_mild, summary.outliers_severe),
        summary.launches
    )
}

/// `4m 10s`: to the second, and no finer.
fn rounded(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m {s:02}s"),
        (h, m, _) => format!("{h}h {m:02}m"),
    }
}
