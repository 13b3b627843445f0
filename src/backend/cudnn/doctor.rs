//! The whole chain from driver to cuDNN, each link by itself: one that is missing hides no other.

use super::driver::Context;
use super::error::GpuError;
use super::library::{Cudnn, Driver, cuda_version, cudnn_version};
use super::monitor::Monitor;
use crate::backend::Check;

pub(super) fn examine(device: u32) -> Vec<Check> {
    let driver = Driver::load();
    let context = match &driver {
        Ok(driver) => Context::open(driver, device),
        Err(error) => Err(error.clone()),
    };
    let cudnn = Cudnn::load(driver.as_ref().ok().map(|driver| driver.cuda));
    let mut checks = vec![Check::new("driver", driver.as_ref().map(of_driver))];
    if driver.is_ok() {
        checks
            .push(Check::new("device", context.as_ref().map_err(Clone::clone).and_then(of_device)));
        if let Ok(context) = &context {
            checks.push(Check::new("NVML", of_monitor(context)));
        }
    }
    checks.push(Check::new("cuDNN", cudnn.as_ref().map(of_cudnn)));
    if let Ok(Cudnn { cublas_lt, .. }) = &cudnn {
        let place = cublas_lt.as_ref().map(|path| path.display().to_string());
        let place = place.unwrap_or_else(|| "found by the loader".to_owned());
        checks.push(Check::new("cuBLASLt", Ok::<_, GpuError>(place)));
    }
    checks
}

fn of_driver(driver: &Driver) -> String {
    format!("{}for CUDA up to {}", place(driver.path.as_ref()), cuda_version(driver.cuda))
}

fn of_device(context: &std::rc::Rc<Context>) -> Result<String, GpuError> {
    Ok(format!("{}, {}, {}", context.name()?, context.memory()?, context.pci_bus_id()?))
}

fn of_monitor(context: &Context) -> Result<String, String> {
    let pci_bus_id = context.pci_bus_id().map_err(|error| error.to_string())?;
    let driver = Monitor::open(&pci_bus_id)?.facts().driver;
    Ok(driver.map_or_else(|| "works".to_owned(), |version| format!("driver {version}")))
}

fn of_cudnn(cudnn: &Cudnn) -> String {
    let built_with = cuda_version(cudnn.built_with);
    let version = cudnn_version(cudnn.version);
    format!("{}{version}, built with CUDA {built_with}", place(cudnn.path.as_ref()))
}

fn place(path: Option<&std::path::PathBuf>) -> String {
    path.map_or_else(String::new, |path| format!("{}, ", path.display()))
}
