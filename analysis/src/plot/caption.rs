//! The sentence under a figure that says where its numbers come from.

use crate::dataset::Provenance;

/// Goes on after `lead` (`Measured on`) with the device and all that decides its latencies: nobody
/// may mistake a CPU's for a GPU's, or a stand-in's for measurements.
pub(super) fn origin(lead: &str, provenance: &Provenance) -> String {
    let Provenance { source, backend, device, versions, protocol } = provenance;
    let warning = provenance.warning().map_or_else(String::new, |warning| format!("{warning}. "));
    format!(
        "{warning}{lead} {device} · backend {backend} · versions: {versions} · protocol: {protocol} · \
         source: {source}."
    )
}
