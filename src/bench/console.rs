//! What the user sees: results on standard output, one line per configuration; progress, warnings and
//! errors on standard error.

use std::process::ExitCode;
use std::time::Duration;

use crate::backend::LaunchTime;
use crate::environment::Platform;
use crate::record::{ConfigurationRecord, Measured, Outcome, Session};
use crate::run::{MOST_ATTEMPTS, Run, RunEvent};
use crate::settings::Settings;
use crate::statistics::Summary;
use crate::terminal::{remark, say};
use crate::units::{Nanoseconds, format_duration};
use indicatif::{ProgressBar, ProgressStyle};

pub fn error(error: &(impl std::fmt::Display + ?Sized)) {
    remark(&format!("error: {error}"));
}

/// Says what will be measured, and why on the CPU if a GPU was possible.
pub fn backend(settings: &Settings, why_cpu: Option<&str>) {
    say(&format!("alpha-flops: {settings}"));
    if let Some(reason) = why_cpu {
        say(&format!("on the CPU: {reason}"));
    }
}

/// Says on which device, and what an empty launch takes there.
pub fn platform(platform: &Platform, session: &Session) {
    if let Some(note) = session.note() {
        remark(&format!("note: {note}"));
    }
    let Platform { backend, device, .. } = platform;
    say(&format!("device: {device} ({backend}), {}", platform.versions()));
    let Some(gpu) = &platform.gpu else { return };
    if gpu.is_stand_in() {
        say("NOT A GPU: a stand-in computes, and no time below is a measurement of anything");
    }
    if let Some(reason) = &gpu.nvml_missing {
        remark(&format!("no clocks, temperature or throttling in the record: {reason}"));
    }
    let LaunchTime { host_ns, device_ns, .. } = session.empty_launch;
    let on_device = device_ns.map(|ns| format!(", {} by the device", Nanoseconds(ns)));
    say(&format!(
        "an empty launch takes {} by the host{}",
        Nanoseconds(host_ns),
        on_device.unwrap_or_default()
    ));
}

/// Says where the run is kept, whether it resumes an earlier one, and what there is to know of how the
/// backend computes here; heads the columns.
pub fn opened(run: &Run, notes: &[String]) {
    let header = run.folder.header();
    let path = run.folder.path().display();
    if header.sessions.len() == 1 {
        say(&format!("run: {path}, seed {}", header.seed));
    } else {
        let (done, all) = (run.done_before, run.visits.len());
        let configurations = match header.plan.settings.passes.get() {
            1 => "configurations".to_owned(),
            passes => format!("configurations, each in {passes} passes,"),
        };
        say(&format!(
            "run: {path}, seed {}; resuming the unfinished run begun {} with the same \
             settings: {done} of {all} {configurations} are measured",
            header.seed, header.started
        ));
    }
    for note in notes {
        remark(&format!("note: {note}"));
    }
    let (budget, least) = (header.plan.settings.time_budget, run.least_time());
    if budget.is_some_and(|budget| least > budget) {
        remark(&format!(
            "note: this takes {} at least, whatever the time budget: {} times, the device warms up for \
             two short windows; for less, set ALPHA_FLOPS_RESOLUTION=original or ALPHA_FLOPS_PASSES=1",
            format_duration(least),
            run.visits.len() - run.done_before,
        ));
    }
    if let Some(warning) = run.folder.without_lock() {
        remark(&format!("warning: {warning}"));
    }
    for passed_over in &run.passed_over {
        remark(&format!("note: {passed_over}"));
    }
    for damaged in &run.damaged {
        remark(&format!("measured again: {damaged}"));
    }
    say(&format!(
        "{:<36} {:>10}  {:>7}  {:>9}  {:>8}",
        "configuration", "median", "IQR/med", "outliers*", "launches"
    ));
}

pub fn progress(run: &Run) -> RunProgress {
    let bar = bar((run.visits.len() - run.done_before) as u64, "{prefix}");
    bar.set_prefix("measuring");
    let passes = run.folder.header().plan.settings.passes.get();
    RunProgress { bar, passes, pass: None }
}

pub fn criterion_progress(benchmarks: u64) -> ProgressBar {
    let bar = bar(benchmarks, "criterion's statistics");
    bar.set_message("");
    bar
}

pub fn criterion_cost(benchmarks: usize, took: Duration) {
    let each_ms = took.as_secs_f64() * 1e3 / benchmarks.max(1) as f64;
    say(&format!(
        "criterion: statistics of {benchmarks} configurations in {:.1} s, {each_ms:.1} ms each",
        took.as_secs_f64()
    ));
}

/// Says what was not measured, what is doubtful, and where the record is.
pub fn finished(run: &Run) -> ExitCode {
    let header = run.folder.header();
    let (mut measured, mut failed, mut throttled, mut bound) = (0, 0, 0, 0);
    for record in &header.configurations {
        throttled += usize::from(record.outcome.is_throttled());
        bound += usize::from(record.outcome.is_bound_by_submission());
        match &record.outcome {
            Outcome::Measured(_) => measured += 1,
            Outcome::Skipped { reason } => say(&format!("skipped {}: {reason}", record.id)),
            Outcome::Failed { reason, .. } => {
                failed += 1;
                remark(&format!("failed {}: {reason}", record.id));
            }
        }
    }
    if bound > 0 {
        say(&format!(
            "{bound} configurations take about as long as submitting them: their device time may \
             include waiting for the host (ALPHA_FLOPS_PROTOCOL=throughput avoids that)"
        ));
    }
    if throttled > 0 {
        remark(&format!(
            "{throttled} configurations were measured while the device was throttled, even in the \
             last of {MOST_ATTEMPTS} attempts: their times are too long"
        ));
    }
    if let Some(quiet) = &header.quiet {
        say(&quiet.to_string());
        if !quiet.is_enough() {
            remark(
                "the machine was not quiet enough: stop what else runs on it, and measure again \
                  before drawing conclusions",
            );
        }
    }
    if let Some(machine) = &header.machine {
        say(&format!("machine: {machine}"));
    }
    say("* mild+severe: launches outside 1.5 and 3 IQR from the quartiles (Tukey)");
    say(&format!(
        "measured {measured} of {} configurations; record: {}",
        header.configurations.len(),
        run.folder.path().display()
    ));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

pub struct RunProgress {
    bar: ProgressBar,
    passes: u32,
    /// The pass that was last said to have begun.
    pass: Option<u32>,
}

impl RunProgress {
    pub fn show(&mut self, event: &RunEvent<'_>) {
        match event {
            RunEvent::Verified(verified) => self.bar.suspend(|| {
                say(&format!("outputs of {verified} configurations agree with direct sums"));
            }),
            RunEvent::Started(visit) => {
                self.begin(visit.pass);
                self.bar.set_message(visit.configuration.id());
            }
            RunEvent::Done { record, of_all_passes, time_left, .. } => {
                if let Some(record) = of_all_passes {
                    self.bar.suspend(|| say(&line(record)));
                }
                let measuring = self.measuring();
                self.bar.set_prefix(match time_left {
                    Some(left) => format!("{measuring}, {} left", format_duration(*left)),
                    None => measuring,
                });
                // further attempts come when the bar is full
                self.bar.inc(u64::from(record.attempts == 1));
            }
        }
    }

    /// Says that a pass begins, where there are several: results come in the last one only.
    fn begin(&mut self, pass: u32) {
        if self.passes > 1 && self.pass < Some(pass) {
            self.pass = Some(pass);
            self.bar.suspend(|| remark(&format!("pass {pass} of {}", self.passes)));
        }
    }

    fn measuring(&self) -> String {
        match self.pass {
            Some(pass) => format!("pass {pass} of {}", self.passes),
            None => "measuring".to_owned(),
        }
    }

    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// A bar on standard error, drawn only if that is a terminal.
fn bar(length: u64, label: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    // the id comes last and is cut: a line longer than the terminal is wide would break
    let template = format!("[{{bar:24}}] {{pos}}/{{len}} {label} {{wide_msg}}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

fn line(record: &ConfigurationRecord) -> String {
    match &record.outcome {
        Outcome::Measured(Measured { summary, .. }) => {
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
