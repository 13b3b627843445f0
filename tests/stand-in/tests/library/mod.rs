//! The graph API of a cuDNN, real or not, for tests; and the descriptors of one convolution.

#![allow(dead_code, reason = "each test uses some of it")]

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use libloading::Library;

/// Numbers of `cudnn_graph.h` that several tests need.
pub mod number {
    pub const CONVOLUTION: i32 = 1;
    pub const ENGINE: i32 = 2;
    pub const CONFIG: i32 = 3;
    pub const HEURISTICS: i32 = 4;
    pub const PLAN: i32 = 5;
    pub const KNOB_CHOICE: i32 = 7;
    pub const KNOB_INFO: i32 = 8;
    pub const OPERATION: i32 = 10;
    pub const GRAPH: i32 = 15;
    pub const PACK: i32 = 16;
    pub const TENSOR: i32 = 17;
    pub const PROPERTIES: i32 = 38;

    pub const HANDLE: i32 = 0;
    pub const DATA_TYPE: i32 = 1;
    pub const BOOLEAN: i32 = 2;
    pub const INT64: i32 = 3;
    pub const FLOAT: i32 = 4;
    pub const POINTER: i32 = 6;
    pub const CONVOLUTION_MODE: i32 = 7;
    pub const HEURISTICS_MODE: i32 = 8;
    pub const KNOB_TYPE: i32 = 9;
    pub const NUMERICAL_NOTE: i32 = 11;
    pub const DESCRIPTOR: i32 = 15;
    pub const BEHAVIOR_NOTE: i32 = 19;
    pub const INT32: i32 = 23;
    pub const CHAR: i32 = 24;

    pub const MODE_FALLBACK: i64 = 2;
    pub const MODE_A: i64 = 3;
}
use number::*;

/// An RTX 4090, written by hand from public specifications, not captured from a device.
const DEVICE_PROPERTIES: &str = r#"{"deviceVer": 890, "multiProcessorCount": 128, "warpSize": 32,
"maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": 101376,
"reservedSharedMemoryPerBlock": 1024, "oversizedSharedMemoryPerBlock": 0,
"maxRegistersPerSM": 65536, "maxCtasPerSM": 24, "maxThreadsPerBlock": 1024,
"maxThreadsPerSM": 1536, "regsPerBlock": 65536, "totalGlobalMem": 25393692672,
"smClockRateKHz": 2520000, "memClockRateKHz": 10501000, "memoryBusWidth": 384,
"l2CacheSize": 75497472, "maxBlockSize": [1024, 1024, 64],
"maxGridSize": [2147483647, 65535, 65535], "supportCoopLaunch": 1, "pciDeviceId": 0,
"isTccDriver": 0, "cudaDeviceId": 0, "driverVer": 12090, "smCountOrigin": 0,
"deviceName": "NVIDIA GeForce RTX 4090"}"#;

/// Where cargo has put the stand-in. It is built with the tests, and always in this folder;
/// the copy above it is only as new as the last `cargo build`.
pub fn stand_in() -> PathBuf {
    let beside = std::env::current_exe().unwrap().with_file_name("libstand_in.so");
    assert!(beside.exists(), "no {}: build alpha-flops-stand-in", beside.display());
    beside
}

type Create = unsafe extern "C" fn(i32, *mut u64) -> i32;
type OnOne = unsafe extern "C" fn(u64) -> i32;
type Set = unsafe extern "C" fn(u64, i32, i32, i64, *const u8) -> i32;
type Get = unsafe extern "C" fn(u64, i32, i32, i64, *mut i64, *mut u8) -> i32;
type Execute = unsafe extern "C" fn(u64, u64, u64) -> i32;

/// A loaded cuDNN. What is created is destroyed in the end.
pub struct Cudnn {
    create: Create,
    destroy: OnOne,
    finalize: OnOne,
    set: Set,
    get: Get,
    execute: Execute,
    created: RefCell<Vec<u64>>,
    /// What plans are made for: the device properties or, if not 0, this handle.
    pub handle: u64,
    library: Library,
}

impl Drop for Cudnn {
    fn drop(&mut self) {
        for descriptor in self.created.borrow().iter().rev() {
            assert_eq!(self.destroy(*descriptor), 0);
        }
    }
}

/// The function `name` of `library`.
///
/// # Safety
/// `F` must be its type.
pub unsafe fn function<F: Copy>(library: &Library, name: &str) -> F {
    // SAFETY: the caller knows the type, and libraries stay loaded
    *unsafe { library.get::<F>(name) }.unwrap()
}

impl Cudnn {
    pub fn load(path: &Path) -> Self {
        // SAFETY: initialisers of cuDNN and of the stand-in do nothing that needs care
        let library = unsafe { Library::new(path) }.unwrap();
        // SAFETY: types as in cudnn_graph.h; pointers are passed as integers
        unsafe {
            Self {
                create: function(&library, "cudnnBackendCreateDescriptor"),
                destroy: function(&library, "cudnnBackendDestroyDescriptor"),
                finalize: function(&library, "cudnnBackendFinalize"),
                set: function(&library, "cudnnBackendSetAttribute"),
                get: function(&library, "cudnnBackendGetAttribute"),
                execute: function(&library, "cudnnBackendExecute"),
                created: RefCell::default(),
                handle: 0,
                library,
            }
        }
    }

    pub fn library(&self) -> &Library {
        &self.library
    }

    pub fn try_create(&self, kind: i32) -> (i32, u64) {
        let mut descriptor = 0;
        // SAFETY: room for one pointer
        let status = unsafe { (self.create)(kind, &mut descriptor) };
        (status, descriptor)
    }

    pub fn create(&self, kind: i32) -> u64 {
        let (status, descriptor) = self.try_create(kind);
        assert_eq!(status, 0, "descriptor of type {kind}");
        self.created.borrow_mut().push(descriptor);
        descriptor
    }

    pub fn create_many(&self, kind: i32, count: usize) -> Vec<i64> {
        (0..count).map(|_| self.create(kind) as i64).collect()
    }

    /// Destroys at once what would be destroyed in the end.
    pub fn destroy_early(&self, descriptor: u64) {
        self.created.borrow_mut().retain(|other| *other != descriptor);
        assert_eq!(self.destroy(descriptor), 0);
    }

    pub fn destroy(&self, descriptor: u64) -> i32 {
        // SAFETY: live or null
        unsafe { (self.destroy)(descriptor) }
    }

    pub fn finalize(&self, descriptor: u64) -> i32 {
        // SAFETY: live or null
        unsafe { (self.finalize)(descriptor) }
    }

    pub fn set(&self, descriptor: u64, name: i32, type_: i32, values: &[i64]) -> i32 {
        self.set_counted(descriptor, name, type_, values.len() as i64, values)
    }

    /// As [`Self::set`], but says that there are `count` values.
    pub fn set_counted(
        &self,
        descriptor: u64,
        name: i32,
        type_: i32,
        count: i64,
        values: &[i64],
    ) -> i32 {
        let size = size_of_type(type_);
        let mut bytes: Vec<u8> =
            values.iter().flat_map(|v| v.to_ne_bytes()[..size].to_vec()).collect();
        // what a count too large would reach
        bytes.resize(bytes.len() + 256, 0);
        self.set_bytes(descriptor, name, type_, count, bytes.as_ptr())
    }

    pub fn set_null(&self, descriptor: u64, name: i32, type_: i32) -> i32 {
        self.set_bytes(descriptor, name, type_, 1, std::ptr::null())
    }

    pub fn set_bytes(&self, of: u64, name: i32, type_: i32, count: i64, from: *const u8) -> i32 {
        // SAFETY: null, or at least `count` elements
        unsafe { (self.set)(of, name, type_, count, from) }
    }

    /// Status and number of elements; these are in `values`, which also says what is there before.
    pub fn get(
        &self,
        descriptor: u64,
        name: i32,
        type_: i32,
        requested: i64,
        values: &mut Vec<i64>,
    ) -> (i32, i64) {
        let size = size_of_type(type_);
        let mut bytes: Vec<u8> =
            values.iter().flat_map(|v| v.to_ne_bytes()[..size].to_vec()).collect();
        bytes.resize(256.max(bytes.len()), 0);
        let mut count = -1;
        // SAFETY: room for more than any attribute here has
        let status = unsafe {
            (self.get)(descriptor, name, type_, requested, &mut count, bytes.as_mut_ptr())
        };
        *values = bytes.chunks_exact(size).map(signed).collect();
        values.truncate(count.max(0) as usize);
        (status, count)
    }

    /// Asks for one element.
    pub fn get_one(&self, descriptor: u64, name: i32, type_: i32) -> (i32, i64) {
        let mut values = Vec::new();
        let (status, _) = self.get(descriptor, name, type_, 1, &mut values);
        (status, values.first().copied().unwrap_or(0))
    }

    /// Asks how many there are: with a null array and none requested.
    pub fn count(&self, descriptor: u64, name: i32, type_: i32) -> (i32, i64) {
        let mut count = -1;
        // SAFETY: a null array is not written to
        let status =
            unsafe { (self.get)(descriptor, name, type_, 0, &mut count, std::ptr::null_mut()) };
        (status, count)
    }

    /// Asks for an element, but not for their number; or, without `array`, for neither.
    pub fn get_uncounted(&self, of: u64, name: i32, type_: i32, array: bool) -> i32 {
        let mut values = [0u64; 8];
        let array = if array { values.as_mut_ptr().cast() } else { std::ptr::null_mut() };
        // SAFETY: room for eight elements; a null count is what is tested
        unsafe { (self.get)(of, name, type_, 1, std::ptr::null_mut(), array) }
    }

    pub fn execute(&self, handle: u64, plan: u64, pack: u64) -> i32 {
        // SAFETY: live or null
        unsafe { (self.execute)(handle, plan, pack) }
    }

    pub fn must_set(&self, descriptor: u64, name: i32, type_: i32, values: &[i64]) {
        assert_eq!(self.set(descriptor, name, type_, values), 0, "attribute {name}");
    }

    pub fn finalized(&self, descriptor: u64) -> u64 {
        assert_eq!(self.finalize(descriptor), 0);
        descriptor
    }

    /// A packed tensor of floats, not finalised.
    pub fn raw_tensor(&self, id: i64, sizes: &[i64]) -> u64 {
        let mut strides = vec![1; sizes.len()];
        for axis in (1..sizes.len()).rev() {
            strides[axis - 1] = strides[axis] * sizes[axis];
        }
        let tensor = self.create(TENSOR);
        self.must_set(tensor, 901, DATA_TYPE, &[0]);
        self.must_set(tensor, 902, INT64, sizes);
        self.must_set(tensor, 903, INT64, &strides);
        self.must_set(tensor, 906, INT64, &[id]);
        self.must_set(tensor, 900, INT64, &[4]);
        tensor
    }

    pub fn tensor(&self, id: i64, sizes: &[i64]) -> u64 {
        self.finalized(self.raw_tensor(id, sizes))
    }

    /// A 2-D cross-correlation, not finalised.
    pub fn raw_convolution(&self, padding: [[i64; 2]; 2], strides: [i64; 2]) -> u64 {
        let convolution = self.create(CONVOLUTION);
        self.must_set(convolution, 106, INT64, &[2]);
        self.must_set(convolution, 100, DATA_TYPE, &[0]);
        self.must_set(convolution, 101, CONVOLUTION_MODE, &[1]);
        self.must_set(convolution, 105, INT64, &padding[0]);
        self.must_set(convolution, 104, INT64, &padding[1]);
        self.must_set(convolution, 103, INT64, &strides);
        self.must_set(convolution, 102, INT64, &[1, 1]);
        convolution
    }

    /// 3×3 with the output as large as the input.
    pub fn convolution(&self) -> u64 {
        self.finalized(self.raw_convolution([[1, 1], [1, 1]], [1, 1]))
    }

    /// Not finalised.
    pub fn raw_operation(&self, x: u64, w: u64, y: u64, convolution: u64) -> u64 {
        let operation = self.create(OPERATION);
        for (name, part) in [(702, convolution), (703, w), (704, x), (705, y)] {
            self.must_set(operation, name, DESCRIPTOR, &[part as i64]);
        }
        let set_float = |name, value: f32| {
            let bytes = value.to_ne_bytes();
            self.set_bytes(operation, name, FLOAT, 1, bytes.as_ptr())
        };
        assert_eq!([set_float(700, 1.0), set_float(701, 0.0)], [0, 0]);
        operation
    }

    pub fn x(&self) -> u64 {
        self.tensor(1, &[1, 8, 10, 10])
    }

    pub fn w(&self) -> u64 {
        self.tensor(2, &[4, 8, 3, 3])
    }

    pub fn y(&self) -> u64 {
        self.tensor(3, &[1, 4, 10, 10])
    }

    pub fn operation(&self) -> u64 {
        self.finalized(self.raw_operation(self.x(), self.w(), self.y(), self.convolution()))
    }

    pub fn graph_of(&self, operation: u64) -> u64 {
        let graph = self.create(GRAPH);
        if self.handle != 0 {
            self.must_set(graph, 800, HANDLE, &[self.handle as i64]);
        }
        self.must_set(graph, 801, DESCRIPTOR, &[operation as i64]);
        self.finalized(graph)
    }

    pub fn graph(&self) -> u64 {
        self.graph_of(self.operation())
    }

    pub fn set_json(&self, properties: u64, json: &str) -> i32 {
        self.set_bytes(properties, 2702, CHAR, json.len() as i64, json.as_ptr())
    }

    pub fn properties(&self) -> u64 {
        let properties = self.create(PROPERTIES);
        assert_eq!(self.set_json(properties, DEVICE_PROPERTIES), 0);
        self.finalized(properties)
    }

    pub fn heuristics_of(&self, graph: u64, mode: i64) -> u64 {
        let heuristics = self.create(HEURISTICS);
        self.must_set(heuristics, 201, DESCRIPTOR, &[graph as i64]);
        self.must_set(heuristics, 200, HEURISTICS_MODE, &[mode]);
        if self.handle == 0 {
            self.must_set(heuristics, 204, DESCRIPTOR, &[self.properties() as i64]);
        }
        self.finalized(heuristics)
    }

    pub fn heuristics(&self) -> u64 {
        self.heuristics_of(self.graph(), MODE_A)
    }

    /// All that `heuristics` gives, in order.
    pub fn configs_of(&self, heuristics: u64) -> Vec<u64> {
        let (status, upper_bound) = self.count(heuristics, 202, DESCRIPTOR);
        assert_eq!(status, 0);
        let mut configs = self.create_many(CONFIG, upper_bound as usize);
        let created = configs.clone();
        let (status, count) = self.get(heuristics, 202, DESCRIPTOR, upper_bound, &mut configs);
        assert!(status == 0 && count <= upper_bound);
        // the pointers are the ones that were handed in
        assert_eq!(configs, created[..count as usize]);
        configs.into_iter().map(|config| config as u64).collect()
    }

    pub fn config(&self) -> u64 {
        self.configs_of(self.heuristics())[0]
    }

    /// What is held by `name` of `holder`, of which there is one.
    pub fn held(&self, holder: u64, name: i32, kind: i32) -> u64 {
        let mut place = self.create_many(kind, 1);
        assert_eq!(self.get(holder, name, DESCRIPTOR, 1, &mut place), (0, 1));
        place[0] as u64
    }

    pub fn engine(&self) -> u64 {
        self.held(self.config(), 300, ENGINE)
    }

    pub fn raw_plan(&self, config: u64) -> u64 {
        let plan = self.create(PLAN);
        self.must_set(plan, 401, DESCRIPTOR, &[config as i64]);
        if self.handle == 0 {
            self.must_set(plan, 407, DESCRIPTOR, &[self.properties() as i64]);
        } else {
            self.must_set(plan, 400, HANDLE, &[self.handle as i64]);
        }
        plan
    }

    pub fn plan(&self) -> u64 {
        self.finalized(self.raw_plan(self.config()))
    }

    pub fn pack(&self, pointers: [u64; 3], workspace: u64) -> u64 {
        let pack = self.create(PACK);
        self.must_set(pack, 1000, INT64, &[1, 2, 3]);
        self.must_set(pack, 1001, POINTER, &pointers.map(|pointer| pointer as i64));
        self.must_set(pack, 1003, POINTER, &[workspace as i64]);
        self.finalized(pack)
    }
}

fn size_of_type(type_: i32) -> usize {
    match type_ {
        BOOLEAN | CHAR => 1,
        HANDLE | INT64 | POINTER | DESCRIPTOR => 8,
        // also of types that there are none of
        _ => 4,
    }
}

fn signed(bytes: &[u8]) -> i64 {
    let word = bytes.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
    let shift = 64 - 8 * bytes.len();
    (word << shift) as i64 >> shift
}
