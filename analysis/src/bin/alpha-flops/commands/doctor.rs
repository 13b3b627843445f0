use alpha_flops::doctor::{Diagnosis, Examined, examine};
use alpha_flops::settings::Requested;
use alpha_flops_analysis::table::wrapped;
use clap::Args;
use serde_json::json;

use crate::output::{Format, formats, print_summary};
use crate::{Exit, Result};

/// Look for what measuring needs: driver, device, NVML, cuDNN and cuBLASLt
///
/// Prints where each was found and which version it is, or why it cannot be used and what to do. The
/// exit status is 1 if nothing could be measured with the present settings.
#[derive(Args)]
pub struct DoctorArgs {
    /// Output format
    #[arg(long, value_parser = formats(Format::SUMMARY), default_value = "table")]
    format: Format,
}

pub fn run(args: &DoctorArgs) -> Result<Exit> {
    let diagnosis = examine(&Requested::from_workspace()?)?;
    print_summary(args.format, &summary(&diagnosis), &json_of(&diagnosis))?;
    Ok(Exit::success_if(diagnosis.would_measure_on.is_ok()))
}

fn summary(diagnosis: &Diagnosis) -> String {
    let mut text = String::new();
    for Examined { name, checks } in &diagnosis.backends {
        text += &format!("{name}\n");
        for check in checks {
            let found = match &check.found {
                Ok(found) => found.clone(),
                Err(why) => format!("cannot be used: {why}"),
            };
            text += &wrapped(&format!("  {:<10}", check.what), &found);
        }
        text += "\n";
    }
    match (&diagnosis.would_measure_on, &diagnosis.why_cpu) {
        (Ok(on), _) => text + &wrapped("would measure on ", on),
        (Err(error), _) => text + &wrapped("cannot measure: ", &error.to_string()),
    }
}

fn json_of(diagnosis: &Diagnosis) -> serde_json::Value {
    let backends = diagnosis.backends.iter().map(|Examined { name, checks }| {
        let checks = checks.iter().map(|check| match &check.found {
            Ok(found) => json!({ "what": check.what, "found": found }),
            Err(why) => json!({ "what": check.what, "error": why }),
        });
        json!({ "backend": name, "checks": Vec::from_iter(checks) })
    });
    let (on, error) = match &diagnosis.would_measure_on {
        Ok(on) => (Some(on.clone()), None),
        Err(error) => (None, Some(error.to_string())),
    };
    json!({
        "backends": Vec::from_iter(backends),
        "would_measure_on": on,
        "why_cpu": diagnosis.why_cpu,
        "cannot_measure": error,
    })
}
