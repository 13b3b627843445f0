//! Stands in for NVIDIA's libraries, so that the cuDNN backend can be tested without a GPU.
//!
//! It is not a GPU, and says so: its device is named `stand-in (not a GPU)`. Its times mean
//! nothing; its convolutions are direct sums on the CPU, computed only where they are read.
//!
//! **One object is three libraries.** A test makes symbolic links to this one file, named
//! `libcuda.so.1`, `libcudnn.so.9` and `libnvidia-ml.so.1`, in a folder on `LD_LIBRARY_PATH`. The
//! loader knows files by device and inode, so that the three names share one state: what cuDNN
//! executes reads the memory that the driver allocated, and one report counts it all.
//!
//! What is refused, and with which status, is what cuDNN 9.28 was seen to refuse
//! (`tests/refusals.rs` asks both). Where cuDNN crashes, the stand-in refuses; where it cannot tell
//! that a device pointer is wrong, neither can a user of the real one, and the stand-in fails the
//! execution with a message on stderr.
//!
//! # Faults
//! `STAND_IN_FAULTS` holds any of these, with commas between them. One that is unknown or has a bad
//! value makes every call fail, and says so on stderr. Counts begin at 1.
//!
//! | fault | effect |
//! |---|---|
//! | `no-device` | `cuInit` finds no device (100) |
//! | `driver-version=11080` | what `cuDriverGetVersion` and NVML report (default 12090) |
//! | `cudnn-version=8907` | what `cudnnGetVersion` reports (default 92800) |
//! | `cudart-version=13000` | what `cudnnGetCudartVersion` reports (default 12090) |
//! | `memory=BYTES` | the device's memory (default 8 GiB), for accounting only |
//! | `fail-allocation=N` | the N-th `cuMemAlloc_v2` is out of memory (2) |
//! | `refuse-plans=N`, `refuse-plans=all` | the first N execution plans of each operation graph are not supported (3000) |
//! | `workspace=BYTES` | every plan wants this much workspace |
//! | `fail-execution=N` | the N-th `cudnnBackendExecute` fails (5000), once |
//! | `sticky=N` | the N-th `cudnnBackendExecute` succeeds but kills the context: all that needs it returns 700, cuDNN 4000 or 5000. What is freed or destroyed counts as released all the same. |
//! | `event-time=nan`, `zero`, `negative` | what `cuEventElapsedTime` reports |
//! | `event-time-from=N` | … only from its N-th call on |
//! | `throttle=N`, `throttle=always` | the first N queries of throttle reasons report software thermal slowdown |
//! | `power-cap` | every query of throttle reasons reports the power limit beside others |
//! | `clock=ramp` | the first 20 clock queries rise from 300 MHz to 2520 MHz |
//! | `other-process=N`, `other-process=always` | the first N queries of compute processes list another one beside this |
//! | `hang=N` | from the N-th `cudnnBackendExecute` on, streams and events are never ready and neither synchronisation nor the destruction of a plan or a variant pack returns |
//! | `wrong-output` | outputs lack the kernel's last tap |
//! | `no-stream-wait` | streams cannot wait for a value (801) |
//! | `block-launch=N` | the N-th `cudnnBackendExecute` returns when no stream waits for a value any more |
//! | `no-nvml` | NVML finds no driver (9) |
//! | `nvml-not-supported` | what NVML is asked of the device, it does not support (3) |
//! | `stub` | every call of the driver's returns 34, as of the library that toolkits have for building programs |
//! | `fail-call=NAME`, `fail-call=NAME:N` | the first or N-th call of that function returns 999, of cuDNN 4000; a version is 0; text is as ever. A release counts as one all the same. May be given several times. |
//!
//! # Report
//! Where `STAND_IN_REPORT` names a file, it is written when the process exits normally: as JSON,
//! how many objects are still live by kind, the peak of allocated bytes, calls by function, and how
//! often something was released or used that was not live. A clean client leaves zeros.

mod attributes;
mod capture;
mod convolution;
mod cudnn;
mod driver;
mod engines;
mod faults;
mod ffi;
mod finalize;
mod graph;
mod memory;
mod nvml;
mod report;
mod state;
mod tensors;
