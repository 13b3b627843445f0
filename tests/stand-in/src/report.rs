//! What the process has left behind, written when it exits normally.

use std::fmt::Write;

use crate::state::{State, complain, lock};

// Not `atexit`: that would have to be called first, and a process that calls nothing reports too.
#[used]
#[unsafe(link_section = ".fini_array")]
static AT_EXIT: extern "C" fn() = report;

extern "C" fn report() {
    let Some(path) = std::env::var_os("STAND_IN_REPORT") else { return };
    let text = json(&mut lock());
    if let Err(error) = std::fs::write(&path, text) {
        complain(&format!("{}: {error}", path.display()));
    }
}

/// One object; all names are ours, so that nothing needs to be escaped.
fn json(state: &mut State) -> String {
    let held_streams = state.driver.held_streams() as u64;
    let driver = &state.driver;
    let live = [
        ("contexts", driver.retains),
        ("streams", driver.streams.len() as u64),
        ("events", driver.events() as u64),
        ("held_streams", held_streams),
        ("graphs", driver.graphs() as u64),
        ("host_allocations", driver.host_allocations() as u64),
        ("allocations", driver.memory.allocations() as u64),
        ("bytes", driver.memory.bytes),
        ("handles", state.graph.handles.len() as u64),
        ("descriptors", (state.graph.descriptors.len() + state.graph.layouts.len()) as u64),
        ("nvml_sessions", state.nvml.sessions),
    ];
    let misuse = &state.misuse;
    format!(
        "{{\n  \"live\": {},\n  \"peak_bytes\": {},\n  \"calls\": {},\n  \
         \"releases_of_what_was_not_live\": {},\n  \"uses_after_release\": {}\n}}\n",
        object(live),
        driver.memory.peak_bytes,
        object(state.calls.iter().map(|(name, count)| (*name, *count))),
        misuse.releases_of_what_was_not_live,
        misuse.uses_after_release,
    )
}

fn object(entries: impl IntoIterator<Item = (&'static str, u64)>) -> String {
    let mut text = String::from("{");
    for (index, (name, value)) in entries.into_iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        // writing into a String cannot fail
        let _ = write!(text, "{comma}\n    \"{name}\": {value}");
    }
    text + "\n  }"
}
