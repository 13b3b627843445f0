//! The one state behind all functions, and what every call of one does first.

use std::collections::BTreeMap;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::driver::Driver;
use crate::faults::Faults;
use crate::graph::Store;
use crate::nvml::Nvml;

/// Stands for success in all three APIs.
pub const SUCCESS: i32 = 0;

/// What a function's body returns to make its call never return. No API has it as a status.
pub const NEVER: i32 = i32::MIN;
/// A call that returns when no stream is held back any more.
pub const WHEN_RELEASED: i32 = i32::MIN + 1;

/// Below all opaque pointers: no address that a process can have, so that whoever follows one crashes.
const NOWHERE: u64 = 0x57a0_0000_0000_0000;

/// Which API a function belongs to.
#[derive(Clone, Copy, PartialEq)]
pub enum Api {
    Driver,
    Cudnn,
    Nvml,
}

impl Api {
    /// The status for what has no better one.
    pub fn unknown_error(self) -> i32 {
        match self {
            Self::Driver | Self::Nvml => 999,
            Self::Cudnn => 4000,
        }
    }
}

/// How often clients did what they must not.
#[derive(Default)]
pub struct Misuse {
    pub releases_of_what_was_not_live: u64,
    pub uses_after_release: u64,
}

/// Everything.
#[derive(Default)]
pub struct State {
    pub faults: Faults,
    /// `STAND_IN_FAULTS` makes no sense.
    pub broken: bool,
    pub calls: BTreeMap<&'static str, u64>,
    pub misuse: Misuse,
    pub driver: Driver,
    pub graph: Store,
    pub nvml: Nvml,
    opaques: u64,
}

static STATE: LazyLock<Mutex<State>> = LazyLock::new(|| {
    let mut state = State::default();
    match std::env::var("STAND_IN_FAULTS").unwrap_or_default().parse() {
        Ok(faults) => state.faults = faults,
        Err(error) => {
            complain(&format!("STAND_IN_FAULTS: {error}; every call will fail"));
            state.broken = true;
        }
    }
    Mutex::new(state)
});

/// The state, locked. A panic in another thread leaves nothing half done that matters here.
pub fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells the developer; the statuses that libraries return say too little.
pub fn complain(message: &str) {
    // a closed stderr is no reason to fail
    let _ = writeln!(std::io::stderr(), "stand-in: {message}");
}

/// What a library for building programs returns from every call.
const STUB_LIBRARY: i32 = 34;

/// Counts a call of `name`, then runs `body` on the state, unless a fault says that it fails.
pub fn call(api: Api, name: &'static str, body: impl FnOnce(&mut State) -> Result<(), i32>) -> i32 {
    let status = {
        let mut state = lock();
        let fails = state.count(name);
        if state.faults.stub && api == Api::Driver {
            return STUB_LIBRARY;
        }
        let releases = ["Free", "Destroy", "Release", "Shutdown", "EndCapture"]
            .iter()
            .any(|word| name.contains(word));
        if fails && !releases {
            return api.unknown_error();
        }
        // unwinding must not reach C, and a bug here must not end the test that would show it
        let outcome = catch_unwind(AssertUnwindSafe(|| body(&mut state)));
        match outcome.unwrap_or_else(|_| Err(api.unknown_error())) {
            _ if fails => api.unknown_error(),
            Ok(()) => SUCCESS,
            Err(status) => status,
        }
    };
    if status == WHEN_RELEASED {
        // as above; the host has to write the value that is waited for
        while lock().driver.held_streams() > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        return SUCCESS;
    }
    if status == NEVER {
        // the lock is gone: other threads go on, and the process can exit
        loop {
            std::thread::sleep(Duration::from_secs(3600));
        }
    }
    status
}

impl State {
    /// Counts a call of `name` and tells whether a fault wants it to fail.
    pub fn count(&mut self, name: &'static str) -> bool {
        let count = self.calls.entry(name).or_default();
        *count += 1;
        self.broken || self.faults.fail_calls.iter().any(|(n, nth)| n == name && nth == count)
    }

    /// A new opaque pointer: never null, never used before, and nothing lies there.
    pub fn opaque(&mut self) -> u64 {
        self.opaques += 1;
        NOWHERE + 16 * self.opaques
    }

    /// Whether [`State::opaque`] gave out `pointer` at any time.
    fn was_opaque(&self, pointer: u64) -> bool {
        pointer > NOWHERE && pointer <= NOWHERE + 16 * self.opaques
    }

    /// Notes the use of an opaque pointer that is not live, and gives back the status for it.
    pub fn not_live(&mut self, pointer: u64, status: i32) -> i32 {
        if self.was_opaque(pointer) {
            self.misuse.uses_after_release += 1;
            complain(&format!("{pointer:#x} is used after its release"));
        }
        status
    }

    /// Notes the release of something that is not live, and gives back the status for it.
    pub fn not_released(&mut self, pointer: u64, status: i32) -> i32 {
        self.misuse.releases_of_what_was_not_live += 1;
        complain(&format!("{pointer:#x} is released, but was not live"));
        status
    }
}
