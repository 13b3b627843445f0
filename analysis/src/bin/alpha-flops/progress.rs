//! Progress bars, on standard error.

use std::time::{Duration, Instant};

use alpha_flops::backend::Backend;
use alpha_flops::record::Session;
use alpha_flops::sweep::{Progress, Sweep, SweepError, SweepStatus};
use alpha_flops::terminal::{Stream, remark};
use alpha_flops::units::format_duration;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Does `work`, which shows how many of how many steps are done.
pub fn of<T>(work: impl FnOnce(&(dyn Fn(u64, u64) + Sync)) -> T) -> T {
    let bar = ProgressBar::new(0);
    let result = work(&|done, of| {
        bar.set_length(of);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    result
}

/// Measures a sweep and shows its progress.
pub fn measure(sweep: &mut Sweep, backend: &mut dyn Backend) -> Result<SweepStatus, SweepError> {
    say_what_is_swept(sweep, backend.notes());
    let (bar, mut said) = (bar(sweep), Instant::now());
    let status = sweep.measure(backend, &mut |progress| show(&bar, &mut said, progress));
    bar.finish_and_clear();
    status
}

fn say_what_is_swept(sweep: &Sweep, notes: &[String]) {
    let plan = &sweep.header().plan;
    let comparable = plan.comparable();
    remark(&format!(
        "sweep: grid {}, shard {} of {} configurations, seed {}, {}, {}",
        plan.grid,
        plan.shard,
        plan.grid.configurations(),
        plan.seed,
        plan.protocol_line(),
        match plan.budget {
            Some(budget) => format!("budget {}", format_duration(budget)),
            None => "no budget".to_owned(),
        }
    ));
    remark(&format!(
        "device: {} ({}), {}",
        comparable.device,
        comparable.backend,
        plan.platform.versions()
    ));
    let session = sweep.header().sessions.last().map(|session| &session.session);
    if let Some(reason) = session.and_then(|session| session.why_cpu.as_ref()) {
        remark(&format!("on the CPU: {reason}"));
    }
    for note in session.and_then(Session::note).iter().chain(notes) {
        remark(&format!("note: {note}"));
    }
    let visited = sweep.counts().visited();
    if visited > 0 {
        let (folder, all) = (sweep.folder().display(), plan.configurations());
        remark(&format!(
            "continuing {folder}: {visited} of {all} configurations are already visited"
        ));
    }
    if let Some(warning) = sweep.without_lock() {
        remark(&format!("warning: {warning}"));
    }
    for damaged in &sweep.damaged {
        remark(&format!("measured again: {damaged}"));
    }
}

/// A bar, if standard error is a terminal. It is drawn when a configuration is done: a thread of its own
/// would disturb the measurement.
fn bar(sweep: &Sweep) -> ProgressBar {
    let target = if Stream::Error.is_terminal() {
        ProgressDrawTarget::stderr_with_hz(2)
    } else {
        ProgressDrawTarget::hidden()
    };
    let length = u64::from(sweep.header().plan.configurations());
    let bar = ProgressBar::with_draw_target(Some(length), target);
    if let Ok(style) = ProgressStyle::with_template("[{bar:24}] {pos}/{len} {wide_msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_position(sweep.counts().visited());
    bar.reset_eta();
    bar
}

/// Without a terminal for the bar, a line is printed this often.
const LINE_INTERVAL: Duration = Duration::from_secs(30);

fn show(bar: &ProgressBar, said: &mut Instant, progress: Progress<'_>) {
    if bar.is_hidden() && said.elapsed() < LINE_INTERVAL {
        return;
    }
    let counts = progress.counts;
    // of the measured ones only: skipping takes no time, and would hide how fast measuring is
    let rate = counts.measured as f64 / counts.used_s.max(f64::MIN_POSITIVE);
    let left = progress
        .time_left
        .map_or(String::new(), |left| format!(", {} left", format_duration(left)));
    let skipped: u64 = counts.skipped.values().sum();
    let measured = counts.measured;
    let message = format!("{measured} measured ({rate:.1}/s), {skipped} skipped{left}");
    if bar.is_hidden() {
        *said = Instant::now();
        remark(&format!("sweep: {message}"));
    }
    bar.set_message(message);
    bar.set_position(counts.visited());
}
