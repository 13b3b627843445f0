//! Whether a convolution fits in memory: one that doesn't is skipped instead of tried.

use crate::backend::Backend;
use crate::experiment::Configuration;
use crate::settings::Settings;
use crate::units::Bytes;

/// Why there is not enough memory for a configuration; `None` where there is.
pub fn does_not_fit(
    backend: &dyn Backend,
    configuration: &Configuration,
    settings: &Settings,
) -> Option<String> {
    let required = backend.required_memory(configuration.shape);
    exceeds(required, settings.memory_limit, backend.available_memory())
}

/// Why so many bytes are too many, where they are.
pub(crate) fn exceeds(
    required: Bytes,
    limit: Option<Bytes>,
    available: Option<Bytes>,
) -> Option<String> {
    if let Some(limit) = limit.filter(|&limit| required > limit) {
        return Some(format!("needs {required}, memory_limit_gib allows {limit}"));
    }
    let available = available.filter(|&available| required > available)?;
    Some(format!("needs {required}, only {available} of memory is free"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exceeds_the_limit_or_the_free_memory_is_not_tried() {
        assert_eq!(exceeds(Bytes(1), Some(Bytes(1)), Some(Bytes(1))), None);
        assert_eq!(exceeds(Bytes(u64::MAX), None, None), None);
        let reason = exceeds(Bytes(2048), Some(Bytes(1024)), None).unwrap();
        assert_eq!(reason, "needs 2.000 KiB, memory_limit_gib allows 1.000 KiB");
        let reason = exceeds(Bytes(2048), Some(Bytes(4096)), Some(Bytes(1024))).unwrap();
        assert_eq!(reason, "needs 2.000 KiB, only 1.000 KiB of memory is free");
    }
}
