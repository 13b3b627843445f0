//! What cuDNN refuses, and with which status; the stand-in must refuse it alike.
//!
//! The table was found by asking cuDNN 9.28. To ask it again, without a GPU, in its deviceless mode:
//!
//! ```text
//! REAL_CUDNN=FOLDER LD_LIBRARY_PATH=FOLDER:… cargo test -p alpha-flops-stand-in
//! ```
//!
//! where `FOLDER` holds `libcudnn.so.9` and the libraries it loads, and `LD_LIBRARY_PATH` leads also
//! to cuBLASLt, which heuristics want, and to some `libcuda.so.1`: a driver, or an object that has
//! the six functions of it that deviceless cuDNN looks up when it is loaded.

#![allow(clippy::unwrap_used, reason = "a test")]

mod library;

use std::io::Write;
use std::path::PathBuf;

use library::Cudnn;
use library::number::*;

const OK: i32 = 0;
const NOT_INITIALIZED: i32 = 1001;
const BAD_PARAM: i32 = 2000;
const NULL_POINTER: i32 = 2002;
const NOT_FINALIZED: i32 = 2004;
const SIZE_INSUFFICIENT: i32 = 2006;
const ATTRIBUTE_TYPE: i32 = 2010;
const NOT_SUPPORTED: i32 = 3000;
const HOST_ALLOCATION: i32 = 4003;

/// What is done, the status of the last call of it, and how to do it.
type Case = (&'static str, i32, fn(&Cudnn) -> i32);

const CREATED: &[Case] = &[
    ("a descriptor of an unknown type is created", HOST_ALLOCATION, |c| c.try_create(1000).0),
    ("a descriptor of a negative type is created", HOST_ALLOCATION, |c| c.try_create(-1).0),
    ("null is destroyed", NULL_POINTER, |c| c.destroy(0)),
    ("null is finalised", NULL_POINTER, |c| c.finalize(0)),
    ("an attribute of null is set", NULL_POINTER, |c| c.set(0, 901, DATA_TYPE, &[0])),
    ("an attribute of null is asked for", BAD_PARAM, |c| c.get_one(0, 901, DATA_TYPE).0),
    ("null executes null", BAD_PARAM, |c| c.execute(0, 0, 0)),
    ("null executes a plan", BAD_PARAM, |c| c.execute(0, c.plan(), c.pack([4, 8, 12], 16))),
];

const TENSORS: &[Case] = &[
    ("no array", BAD_PARAM, |c| c.set_null(c.create(TENSOR), 901, DATA_TYPE)),
    ("another type", ATTRIBUTE_TYPE, |c| c.set(c.create(TENSOR), 901, INT64, &[0])),
    ("sizes of 32 bits", ATTRIBUTE_TYPE, |c| c.set(c.create(TENSOR), 902, INT32, &[1, 1])),
    ("an unknown type", ATTRIBUTE_TYPE, |c| c.set(c.create(TENSOR), 902, 99, &[1])),
    ("a name of other descriptors", BAD_PARAM, |c| c.set(c.create(TENSOR), 106, INT64, &[2])),
    ("an unknown name", BAD_PARAM, |c| c.set(c.create(TENSOR), 99_999, INT64, &[2])),
    ("two data types", BAD_PARAM, |c| c.set(c.create(TENSOR), 901, DATA_TYPE, &[0, 0])),
    ("two ids", BAD_PARAM, |c| c.set(c.create(TENSOR), 906, INT64, &[1, 2])),
    ("no sizes", BAD_PARAM, |c| c.set(c.create(TENSOR), 902, INT64, &[])),
    ("a negative count", BAD_PARAM, |c| c.set_counted(c.create(TENSOR), 902, INT64, -1, &[1])),
    ("a negative size is set", OK, |c| c.set(c.create(TENSOR), 902, INT64, &[1, -1, 1, 1])),
    ("a negative size is finalised", BAD_PARAM, |c| changed_tensor(c, 902, &[1, -1, 1, 1])),
    ("a size of zero is finalised", OK, |c| changed_tensor(c, 902, &[1, 0, 1, 1])),
    ("a negative stride is finalised", BAD_PARAM, |c| changed_tensor(c, 903, &[1, -1, 1, 1])),
    ("fewer strides than sizes", BAD_PARAM, |c| changed_tensor(c, 903, &[1, 1])),
    ("an alignment of 0", BAD_PARAM, |c| changed_tensor(c, 900, &[0])),
    ("an alignment of half a float", BAD_PARAM, |c| changed_tensor(c, 900, &[2])),
    ("an alignment of one and a half floats", BAD_PARAM, |c| changed_tensor(c, 900, &[6])),
    ("an alignment of three floats", OK, |c| changed_tensor(c, 900, &[12])),
    ("without sizes", BAD_PARAM, |c| tensor_without(c, 902)),
    ("without strides", BAD_PARAM, |c| tensor_without(c, 903)),
    ("without alignment", BAD_PARAM, |c| tensor_without(c, 900)),
    ("without data type", OK, |c| tensor_without(c, 901)),
    ("without id", OK, |c| tensor_without(c, 906)),
    ("without anything", BAD_PARAM, |c| c.finalize(c.create(TENSOR))),
    ("finalised twice", BAD_PARAM, |c| c.finalize(c.x())),
    ("set when finalised", BAD_PARAM, |c| c.set(c.x(), 901, DATA_TYPE, &[0])),
    ("asked before finalised", NOT_INITIALIZED, |c| {
        c.get_one(c.raw_tensor(1, &[1]), 901, DATA_TYPE).0
    }),
    ("asked for another type", ATTRIBUTE_TYPE, |c| c.get_one(c.x(), 901, INT64).0),
    ("asked for what it has not", BAD_PARAM, |c| c.get_one(c.x(), 106, INT64).0),
    ("asked for two of one", BAD_PARAM, |c| c.get(c.x(), 901, DATA_TYPE, 2, &mut vec![]).0),
    ("asked for none of one", BAD_PARAM, |c| c.get(c.x(), 901, DATA_TYPE, 0, &mut vec![]).0),
    ("asked for minus one", BAD_PARAM, |c| c.get(c.x(), 901, DATA_TYPE, -1, &mut vec![]).0),
    ("asked without a count", OK, |c| c.get_uncounted(c.x(), 901, DATA_TYPE, true)),
    ("asked without count and array", BAD_PARAM, |c| c.get_uncounted(c.x(), 901, DATA_TYPE, false)),
];

const CONVOLUTIONS: &[Case] = &[
    ("data type as integer", ATTRIBUTE_TYPE, |c| c.set(c.create(CONVOLUTION), 100, INT64, &[0])),
    ("mode as integer", ATTRIBUTE_TYPE, |c| c.set(c.create(CONVOLUTION), 101, INT64, &[1])),
    ("number of axes as 32 bits", BAD_PARAM, |c| c.set(c.create(CONVOLUTION), 106, INT32, &[2])),
    ("two numbers of axes", BAD_PARAM, |c| c.set(c.create(CONVOLUTION), 106, INT64, &[2, 2])),
    ("no strides", BAD_PARAM, |c| c.set(c.create(CONVOLUTION), 103, INT64, &[])),
    ("paddings as data types", ATTRIBUTE_TYPE, |c| {
        c.set(c.create(CONVOLUTION), 105, DATA_TYPE, &[1, 1])
    }),
    ("without anything", BAD_PARAM, |c| c.finalize(c.create(CONVOLUTION))),
    ("without number of axes", BAD_PARAM, |c| convolution_without(c, 106)),
    ("without strides", BAD_PARAM, |c| convolution_without(c, 103)),
    ("without dilations", BAD_PARAM, |c| convolution_without(c, 102)),
    ("without paddings before", OK, |c| convolution_without(c, 105)),
    ("without paddings behind", OK, |c| convolution_without(c, 104)),
    ("without mode", OK, |c| convolution_without(c, 101)),
    ("three axes, two values", BAD_PARAM, |c| changed_convolution(c, 106, &[3])),
    ("no axis", BAD_PARAM, |c| changed_convolution(c, 106, &[0])),
    ("a stride of 0", BAD_PARAM, |c| changed_convolution(c, 103, &[0, 1])),
    ("a dilation of 0", BAD_PARAM, |c| changed_convolution(c, 102, &[1, 0])),
    ("a negative padding", BAD_PARAM, |c| changed_convolution(c, 104, &[-1, 0])),
    ("asymmetric padding", OK, |c| changed_convolution(c, 104, &[2, 0])),
    ("set when finalised", BAD_PARAM, |c| c.set(c.convolution(), 106, INT64, &[2])),
    ("mode asked for as a mode", ATTRIBUTE_TYPE, |c| {
        c.get_one(c.convolution(), 101, CONVOLUTION_MODE).0
    }),
    ("mode asked for as a data type", OK, |c| c.get_one(c.convolution(), 101, DATA_TYPE).0),
];

const OPERATIONS: &[Case] = &[
    ("a tensor as integer", BAD_PARAM, |c| c.set(c.create(OPERATION), 704, INT64, &[1])),
    ("no array", BAD_PARAM, |c| c.set_null(c.create(OPERATION), 704, DESCRIPTOR)),
    ("no tensors", BAD_PARAM, |c| c.set(c.create(OPERATION), 704, DESCRIPTOR, &[])),
    ("an unfinalised tensor is set", OK, |c| {
        let tensor = c.raw_tensor(1, &[1, 8, 10, 10]) as i64;
        c.set(c.create(OPERATION), 704, DESCRIPTOR, &[tensor])
    }),
    ("an integer as alpha", BAD_PARAM, |c| c.set(c.create(OPERATION), 700, INT64, &[1])),
    ("an unknown name", BAD_PARAM, |c| c.set(c.create(OPERATION), 706, INT64, &[1])),
    ("without anything", BAD_PARAM, |c| c.finalize(c.create(OPERATION))),
    ("an unfinalised input", BAD_PARAM, |c| {
        let x = c.raw_tensor(1, &[1, 8, 10, 10]);
        c.finalize(c.raw_operation(x, c.w(), c.y(), c.convolution()))
    }),
    ("an input finalised too late", BAD_PARAM, |c| {
        let x = c.raw_tensor(1, &[1, 8, 10, 10]);
        let operation = c.raw_operation(x, c.w(), c.y(), c.convolution());
        c.finalized(x);
        c.finalize(operation)
    }),
    ("an input destroyed before", OK, |c| {
        let x = c.x();
        let operation = c.raw_operation(x, c.w(), c.y(), c.convolution());
        c.destroy_early(x);
        c.finalize(operation)
    }),
    ("an unfinalised convolution", BAD_PARAM, |c| {
        let convolution = c.raw_convolution([[1, 1], [1, 1]], [1, 1]);
        c.finalize(c.raw_operation(c.x(), c.w(), c.y(), convolution))
    }),
    ("an output one row too high", BAD_PARAM, |c| with_output(c, &[1, 4, 11, 10])),
    ("an output one column too narrow", BAD_PARAM, |c| with_output(c, &[1, 4, 10, 9])),
    ("an output with another channel", BAD_PARAM, |c| with_output(c, &[1, 5, 10, 10])),
    ("an output of two images", BAD_PARAM, |c| with_output(c, &[2, 4, 10, 10])),
    ("an output of three axes", BAD_PARAM, |c| with_output(c, &[1, 4, 10])),
    ("weights for too few channels", BAD_PARAM, |c| with_weights(c, &[4, 7, 3, 3])),
    ("weights for too many channels", BAD_PARAM, |c| with_weights(c, &[4, 16, 3, 3])),
    ("weights for two groups", OK, |c| with_weights(c, &[4, 4, 3, 3])),
    ("a larger kernel", BAD_PARAM, |c| with_weights(c, &[4, 8, 3, 5])),
    ("more kernels", BAD_PARAM, |c| with_weights(c, &[5, 8, 3, 3])),
    ("padding that makes another size", BAD_PARAM, |c| {
        let convolution = c.finalized(c.raw_convolution([[1, 1], [1, 0]], [1, 1]));
        c.finalize(c.raw_operation(c.x(), c.w(), c.y(), convolution))
    }),
    ("asymmetric padding that makes this size", OK, |c| {
        let convolution = c.finalized(c.raw_convolution([[0, 2], [2, 0]], [1, 1]));
        c.finalize(c.raw_operation(c.x(), c.w(), c.y(), convolution))
    }),
    ("an image smaller than the kernel", BAD_PARAM, |c| {
        let convolution = c.finalized(c.raw_convolution([[0, 0], [0, 0]], [1, 1]));
        let (x, y) = (c.tensor(1, &[1, 8, 2, 2]), c.tensor(3, &[1, 4, 1, 1]));
        c.finalize(c.raw_operation(x, c.w(), y, convolution))
    }),
    ("an output that overlaps itself", BAD_PARAM, |c| {
        let y = c.raw_tensor(3, &[1, 4, 10, 10]);
        c.must_set(y, 903, INT64, &[1, 1, 1, 1]);
        c.finalize(c.raw_operation(c.x(), c.w(), c.finalized(y), c.convolution()))
    }),
    ("all tensors with one id", OK, |c| {
        let y = c.tensor(1, &[1, 4, 10, 10]);
        c.finalize(c.raw_operation(c.x(), c.w(), y, c.convolution()))
    }),
    ("finalised twice", BAD_PARAM, |c| c.finalize(c.operation())),
];

const GRAPHS: &[Case] = &[
    ("an operation as integer", ATTRIBUTE_TYPE, |c| c.set(c.create(GRAPH), 801, INT64, &[1])),
    ("a null operation", NULL_POINTER, |c| c.set(c.create(GRAPH), 801, DESCRIPTOR, &[0])),
    ("no array", BAD_PARAM, |c| c.set_null(c.create(GRAPH), 801, DESCRIPTOR)),
    ("no operations", OK, |c| c.set(c.create(GRAPH), 801, DESCRIPTOR, &[])),
    ("an unfinalised operation", NOT_FINALIZED, |c| {
        let operation = c.raw_operation(c.x(), c.w(), c.y(), c.convolution());
        c.set(c.create(GRAPH), 801, DESCRIPTOR, &[operation as i64])
    }),
    ("a null handle", NULL_POINTER, |c| c.set(c.create(GRAPH), 800, HANDLE, &[0])),
    ("a handle as pointer", NOT_INITIALIZED, |c| c.set(c.create(GRAPH), 800, POINTER, &[0])),
    ("two handles", BAD_PARAM, |c| c.set(c.create(GRAPH), 800, HANDLE, &[0, 0])),
    ("its number of engines is set", BAD_PARAM, |c| c.set(c.create(GRAPH), 802, INT64, &[1])),
    ("without operations", BAD_PARAM, |c| c.finalize(c.create(GRAPH))),
    ("the same operation twice", BAD_PARAM, |c| {
        let (graph, operation) = (c.create(GRAPH), c.operation() as i64);
        c.must_set(graph, 801, DESCRIPTOR, &[operation]);
        c.must_set(graph, 801, DESCRIPTOR, &[operation]);
        c.finalize(graph)
    }),
    ("an operation destroyed before", OK, |c| {
        let (graph, operation) = (c.create(GRAPH), c.operation());
        c.must_set(graph, 801, DESCRIPTOR, &[operation as i64]);
        c.destroy_early(operation);
        c.finalize(graph)
    }),
    ("finalised twice", BAD_PARAM, |c| c.finalize(c.graph())),
    ("asked for its operations", NOT_SUPPORTED, |c| c.get_one(c.graph(), 801, DESCRIPTOR).0),
    ("asked for its number of engines", OK, |c| c.get_one(c.graph(), 802, INT64).0),
];

const DEVICE_PROPERTIES: &[Case] = &[
    ("no array", BAD_PARAM, |c| c.set_null(c.create(PROPERTIES), 2702, CHAR)),
    ("a null handle", NULL_POINTER, |c| c.set(c.create(PROPERTIES), 2701, HANDLE, &[0])),
    ("an unknown name", BAD_PARAM, |c| c.set(c.create(PROPERTIES), 2703, CHAR, &[0])),
    ("without anything", NOT_INITIALIZED, |c| c.finalize(c.create(PROPERTIES))),
    ("half a JSON object is set", OK, |c| c.set_json(c.create(PROPERTIES), "{")),
    ("half a JSON object is finalised", BAD_PARAM, |c| json(c, "{")),
    ("JSON without properties is finalised", BAD_PARAM, |c| json(c, "{}")),
    ("finalised twice", BAD_PARAM, |c| c.finalize(c.properties())),
    ("asked for with too little room", SIZE_INSUFFICIENT, |c| {
        c.get(c.properties(), 2702, CHAR, 5, &mut vec![]).0
    }),
];

const HEURISTICS_TABLE: &[Case] = &[
    ("a graph as integer", ATTRIBUTE_TYPE, |c| c.set(c.create(HEURISTICS), 201, INT64, &[1])),
    ("a null graph", BAD_PARAM, |c| c.set(c.create(HEURISTICS), 201, DESCRIPTOR, &[0])),
    ("two graphs", BAD_PARAM, |c| {
        let graph = c.graph() as i64;
        c.set(c.create(HEURISTICS), 201, DESCRIPTOR, &[graph, graph])
    }),
    ("a mode as integer", ATTRIBUTE_TYPE, |c| c.set(c.create(HEURISTICS), 200, INT64, &[3])),
    ("two modes", BAD_PARAM, |c| c.set(c.create(HEURISTICS), 200, HEURISTICS_MODE, &[3, 3])),
    ("an unknown mode", OK, |c| c.set(c.create(HEURISTICS), 200, HEURISTICS_MODE, &[99])),
    ("null properties", BAD_PARAM, |c| c.set(c.create(HEURISTICS), 204, DESCRIPTOR, &[0])),
    ("results are set", BAD_PARAM, |c| {
        let config = c.create(CONFIG) as i64;
        c.set(c.create(HEURISTICS), 202, DESCRIPTOR, &[config])
    }),
    ("without a graph", BAD_PARAM, |c| c.finalize(c.create(HEURISTICS))),
    ("an unfinalised graph", NOT_FINALIZED, |c| {
        let (heuristics, graph) = (c.create(HEURISTICS), c.create(GRAPH));
        c.must_set(graph, 801, DESCRIPTOR, &[c.operation() as i64]);
        c.must_set(heuristics, 201, DESCRIPTOR, &[graph as i64]);
        c.finalize(heuristics)
    }),
    ("a negative number of multiprocessors", BAD_PARAM, |c| {
        let heuristics = c.create(HEURISTICS);
        c.must_set(heuristics, 201, DESCRIPTOR, &[c.graph() as i64]);
        c.must_set(heuristics, 203, INT32, &[-1]);
        c.finalize(heuristics)
    }),
    ("results before finalised", NOT_INITIALIZED, |c| {
        c.get_one(c.create(HEURISTICS), 202, DESCRIPTOR).0
    }),
    ("results as integers", ATTRIBUTE_TYPE, |c| c.get_one(c.heuristics(), 202, INT64).0),
    ("finalised twice", BAD_PARAM, |c| c.finalize(c.heuristics())),
];

const ENGINES_AND_CONFIGS: &[Case] = &[
    ("a result is finalised", BAD_PARAM, |c| c.finalize(c.config())),
    ("a result is set", BAD_PARAM, |c| {
        c.set(c.config(), 300, DESCRIPTOR, &[c.create(ENGINE) as i64])
    }),
    ("a place not filled is asked", NOT_INITIALIZED, |c| {
        c.get_one(c.create(CONFIG), 300, DESCRIPTOR).0
    }),
    ("a config gives its engine to null", BAD_PARAM, |c| c.get_one(c.config(), 300, DESCRIPTOR).0),
    ("a config gives its engine to a tensor", BAD_PARAM, |c| {
        c.get(c.config(), 300, DESCRIPTOR, 1, &mut c.create_many(TENSOR, 1)).0
    }),
    ("a config gives its engine twice", NOT_SUPPORTED, |c| {
        c.get(c.config(), 300, DESCRIPTOR, 2, &mut c.create_many(ENGINE, 2)).0
    }),
    ("a config gives its engine as integer", ATTRIBUTE_TYPE, |c| {
        c.get_one(c.config(), 300, INT64).0
    }),
    ("a config without an unknown name", BAD_PARAM, |c| c.get_one(c.config(), 399, INT64).0),
    ("a config takes a null engine", BAD_PARAM, |c| c.set(c.create(CONFIG), 300, DESCRIPTOR, &[0])),
    ("a config takes two engines", NOT_SUPPORTED, |c| {
        let engine = c.engine() as i64;
        c.set(c.create(CONFIG), 300, DESCRIPTOR, &[engine, engine])
    }),
    ("a config takes a workspace", NOT_SUPPORTED, |c| c.set(c.create(CONFIG), 303, INT64, &[1])),
    ("a config takes an engine that it got", OK, |c| config_with(c, &[])),
    ("a config takes an unfinalised choice", NOT_INITIALIZED, |c| {
        c.set(c.create(CONFIG), 302, DESCRIPTOR, &[c.create(KNOB_CHOICE) as i64])
    }),
    ("a config takes a choice that is no knob's", NOT_SUPPORTED, |c| config_with(c, &[(14, 1)])),
    ("a config takes a choice out of range", NOT_SUPPORTED, |c| config_with(c, &[(2, 9999)])),
    ("a config takes a choice twice", BAD_PARAM, |c| config_with(c, &[(2, 0), (2, 0)])),
    ("an engine gives 32 bits of its index", ATTRIBUTE_TYPE, |c| {
        c.get_one(c.engine(), 1301, INT32).0
    }),
    ("an engine gives two indices", BAD_PARAM, |c| {
        c.get(c.engine(), 1301, INT64, 2, &mut vec![]).0
    }),
    ("an engine gives notes as integers", ATTRIBUTE_TYPE, |c| c.get_one(c.engine(), 1303, INT64).0),
    ("an engine gives minus one notes", BAD_PARAM, |c| {
        c.get(c.engine(), 1303, NUMERICAL_NOTE, -1, &mut vec![]).0
    }),
    ("an engine takes a note", NOT_SUPPORTED, |c| {
        c.set(c.create(ENGINE), 1303, NUMERICAL_NOTE, &[0])
    }),
    ("an engine takes 32 bits of an index", BAD_PARAM, |c| {
        c.set(c.create(ENGINE), 1301, INT32, &[1])
    }),
    ("an engine without a graph", NULL_POINTER, |c| c.finalize(c.create(ENGINE))),
    ("an engine without an index", NOT_SUPPORTED, |c| engine_of(c, c.graph(), None)),
    ("an engine of an index that is none", NOT_SUPPORTED, |c| engine_of(c, c.graph(), Some(1000))),
    ("an engine for an unfinalised graph", NOT_FINALIZED, |c| {
        engine_of(c, c.create(GRAPH), Some(0))
    }),
    ("a knob's type as integer", ATTRIBUTE_TYPE, |c| {
        c.set(c.create(KNOB_CHOICE), 600, INT64, &[2])
    }),
    ("a knob's value as 32 bits", ATTRIBUTE_TYPE, |c| {
        c.set(c.create(KNOB_CHOICE), 601, INT32, &[2])
    }),
    ("an empty choice", OK, |c| c.finalize(c.create(KNOB_CHOICE))),
    ("what is told about a knob is set", NOT_SUPPORTED, |c| {
        c.set(c.create(KNOB_INFO), 1200, KNOB_TYPE, &[1])
    }),
    ("what is told about a knob is finalised", BAD_PARAM, |c| c.finalize(c.create(KNOB_INFO))),
];

const PLANS_AND_PACKS: &[Case] = &[
    ("a plan takes a null config", BAD_PARAM, |c| c.set(c.create(PLAN), 401, DESCRIPTOR, &[0])),
    ("a plan takes a config as integer", ATTRIBUTE_TYPE, |c| {
        c.set(c.create(PLAN), 401, INT64, &[1])
    }),
    ("a plan takes two configs", NOT_SUPPORTED, |c| {
        let config = c.config() as i64;
        c.set(c.create(PLAN), 401, DESCRIPTOR, &[config, config])
    }),
    ("a plan takes a handle as integer", NOT_INITIALIZED, |c| {
        c.set(c.create(PLAN), 400, INT64, &[1])
    }),
    ("a plan takes a workspace", NOT_SUPPORTED, |c| c.set(c.create(PLAN), 402, INT64, &[1])),
    ("a plan of a config destroyed before", OK, |c| {
        let config = c.config();
        let plan = c.raw_plan(config);
        c.destroy_early(config);
        c.finalize(plan)
    }),
    ("a plan is asked before finalised", NOT_INITIALIZED, |c| {
        c.get_one(c.raw_plan(c.config()), 402, INT64).0
    }),
    ("a plan gives 32 bits of its workspace", ATTRIBUTE_TYPE, |c| {
        c.get_one(c.plan(), 402, INT32).0
    }),
    ("a plan gives two workspaces", BAD_PARAM, |c| c.get(c.plan(), 402, INT64, 2, &mut vec![]).0),
    ("a plan is finalised twice", BAD_PARAM, |c| c.finalize(c.plan())),
    ("a pack takes ids as pointers", NOT_SUPPORTED, |c| c.set(c.create(PACK), 1000, POINTER, &[1])),
    ("a pack takes pointers as ids", NOT_SUPPORTED, |c| c.set(c.create(PACK), 1001, INT64, &[1])),
    ("a pack takes two workspaces", BAD_PARAM, |c| c.set(c.create(PACK), 1003, POINTER, &[4, 8])),
    ("a pack takes no array", BAD_PARAM, |c| c.set_null(c.create(PACK), 1001, POINTER)),
    ("a pack takes no pointers", BAD_PARAM, |c| c.set(c.create(PACK), 1001, POINTER, &[])),
    ("a pack takes an unknown name", BAD_PARAM, |c| c.set(c.create(PACK), 1004, INT64, &[1])),
    ("a pack of fewer ids than pointers", BAD_PARAM, |c| pack_of(c, &[1, 2], &[4, 8, 12])),
    ("a pack of ids alone", BAD_PARAM, |c| pack_of(c, &[1, 2, 3], &[])),
    ("a pack of pointers alone", BAD_PARAM, |c| pack_of(c, &[], &[4, 8, 12])),
    ("a pack with a null pointer", OK, |c| pack_of(c, &[1, 2, 3], &[4, 0, 12])),
    ("a pack without anything", OK, |c| c.finalize(c.create(PACK))),
    ("a pack is set when finalised", BAD_PARAM, |c| {
        c.set(c.pack([4, 8, 12], 16), 1000, INT64, &[1, 2, 3])
    }),
    ("a pack is asked for its ids", NOT_SUPPORTED, |c| {
        c.get_one(c.pack([4, 8, 12], 16), 1000, INT64).0
    }),
];

const TABLES: [(&str, &[Case]); 9] = [
    ("creation", CREATED),
    ("tensor", TENSORS),
    ("convolution", CONVOLUTIONS),
    ("operation", OPERATIONS),
    ("graph", GRAPHS),
    ("device properties", DEVICE_PROPERTIES),
    ("heuristics", HEURISTICS_TABLE),
    ("engines and configurations", ENGINES_AND_CONFIGS),
    ("plans and packs", PLANS_AND_PACKS),
];

fn changed_tensor(c: &Cudnn, name: i32, values: &[i64]) -> i32 {
    let tensor = c.raw_tensor(1, &[1, 2, 3, 4]);
    c.must_set(tensor, name, INT64, values);
    c.finalize(tensor)
}

fn tensor_without(c: &Cudnn, name: i32) -> i32 {
    let tensor = c.create(TENSOR);
    for (other, type_, values) in [
        (900, INT64, &[4][..]),
        (901, DATA_TYPE, &[0]),
        (902, INT64, &[2, 3]),
        (903, INT64, &[3, 1]),
        (906, INT64, &[1]),
    ] {
        if other != name {
            c.must_set(tensor, other, type_, values);
        }
    }
    c.finalize(tensor)
}

fn changed_convolution(c: &Cudnn, name: i32, values: &[i64]) -> i32 {
    let convolution = c.raw_convolution([[1, 1], [1, 1]], [1, 1]);
    c.must_set(convolution, name, INT64, values);
    c.finalize(convolution)
}

fn convolution_without(c: &Cudnn, name: i32) -> i32 {
    let convolution = c.create(CONVOLUTION);
    for (other, type_, values) in [
        (100, DATA_TYPE, &[0][..]),
        (101, CONVOLUTION_MODE, &[1]),
        (102, INT64, &[1, 1]),
        (103, INT64, &[1, 1]),
        (104, INT64, &[1, 1]),
        (105, INT64, &[1, 1]),
        (106, INT64, &[2]),
    ] {
        if other != name {
            c.must_set(convolution, other, type_, values);
        }
    }
    c.finalize(convolution)
}

fn with_output(c: &Cudnn, sizes: &[i64]) -> i32 {
    let y = c.tensor(3, sizes);
    c.finalize(c.raw_operation(c.x(), c.w(), y, c.convolution()))
}

fn with_weights(c: &Cudnn, sizes: &[i64]) -> i32 {
    let w = c.tensor(2, sizes);
    c.finalize(c.raw_operation(c.x(), w, c.y(), c.convolution()))
}

fn json(c: &Cudnn, text: &str) -> i32 {
    let properties = c.create(PROPERTIES);
    assert_eq!(c.set_json(properties, text), OK);
    c.finalize(properties)
}

/// A configuration with the engine that heuristics prefer, and these types and values of knobs.
fn config_with(c: &Cudnn, knobs: &[(i64, i64)]) -> i32 {
    let config = c.create(CONFIG);
    c.must_set(config, 300, DESCRIPTOR, &[c.engine() as i64]);
    let choices = knobs.iter().map(|(kind, value)| {
        let choice = c.create(KNOB_CHOICE);
        c.must_set(choice, 600, KNOB_TYPE, &[*kind]);
        c.must_set(choice, 601, INT64, &[*value]);
        c.finalized(choice) as i64
    });
    let choices: Vec<_> = choices.collect();
    if !choices.is_empty() {
        let status = c.set(config, 302, DESCRIPTOR, &choices);
        if status != OK {
            return status;
        }
    }
    c.finalize(config)
}

fn engine_of(c: &Cudnn, graph: u64, index: Option<i64>) -> i32 {
    let engine = c.create(ENGINE);
    c.must_set(engine, 1300, DESCRIPTOR, &[graph as i64]);
    if let Some(index) = index {
        c.must_set(engine, 1301, INT64, &[index]);
    }
    c.finalize(engine)
}

fn pack_of(c: &Cudnn, ids: &[i64], pointers: &[i64]) -> i32 {
    let pack = c.create(PACK);
    if !ids.is_empty() {
        c.must_set(pack, 1000, INT64, ids);
    }
    if !pointers.is_empty() {
        c.must_set(pack, 1001, POINTER, pointers);
    }
    c.finalize(pack)
}

/// Runs all cases and lists those whose status is another.
fn check(path: PathBuf) {
    let cudnn = Cudnn::load(&path);
    let mut wrong = Vec::new();
    for (table, cases) in TABLES {
        for (name, expected, run) in cases {
            let got = run(&cudnn);
            if got != *expected {
                wrong.push(format!("{table}: {name}: expected {expected}, got {got}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", path.display(), wrong.join("\n"));
}

/// How a client gets at configurations, engines and plans: what is not a refusal.
fn follow_conventions(path: PathBuf) {
    let c = Cudnn::load(&path);
    let heuristics = c.heuristics();
    let (_, upper_bound) = c.count(heuristics, 202, DESCRIPTOR);
    let configs = c.configs_of(heuristics);
    assert!(!configs.is_empty() && (configs.len() as i64) < upper_bound);
    // with an array, none requested is none given; places that are full are not filled again
    assert_eq!(c.get(heuristics, 202, DESCRIPTOR, 0, &mut vec![]), (OK, 0));
    assert_eq!(c.get(heuristics, 202, DESCRIPTOR, 1, &mut vec![configs[0] as i64]), (OK, 0));

    let mut knobs_seen = 0;
    for config in &configs {
        let engine = c.held(*config, 300, ENGINE);
        // into a finalised engine it can be got again
        assert_eq!(c.get(*config, 300, DESCRIPTOR, 1, &mut vec![engine as i64]), (OK, 1));
        let (status, index) = c.get_one(engine, 1301, INT64);
        assert!(status == OK && index >= 0);
        for (name, type_) in [(1303, NUMERICAL_NOTE), (1305, BEHAVIOR_NOTE)] {
            let mut notes = Vec::new();
            let (status, count) = c.get(engine, name, type_, 16, &mut notes);
            assert!(status == OK && count == notes.len() as i64);
            assert_eq!(c.count(engine, name, type_), (OK, count), "a null array counts");
            let few = c.get(engine, name, type_, 1, &mut notes);
            assert_eq!(few, (OK, count.min(1)), "fewer are given if fewer are requested");
        }
        // the number of choices cannot be asked for, only be found by asking for many
        assert_eq!(c.count(*config, 302, DESCRIPTOR), (OK, 0));
        let mut choices = c.create_many(KNOB_CHOICE, 16);
        assert_eq!(c.get(*config, 302, DESCRIPTOR, 16, &mut choices).0, OK);
        knobs_seen += choices.len();
        for choice in choices {
            assert_eq!(c.get_one(choice as u64, 600, KNOB_TYPE).0, OK);
            assert_eq!(c.get_one(choice as u64, 601, INT64).0, OK);
        }
        let plan = c.raw_plan(*config);
        if c.finalize(plan) == OK {
            let (status, workspace) = c.get_one(plan, 402, INT64);
            assert!(status == OK && workspace >= 0);
        }
    }
    assert!(knobs_seen > 0);
    let fallback = c.configs_of(c.heuristics_of(c.graph(), MODE_FALLBACK));
    assert!(!fallback.is_empty() && fallback.len() < configs.len());
}

/// The real cuDNN, if there is one to ask.
fn real() -> Option<PathBuf> {
    let folder = std::env::var_os("REAL_CUDNN");
    if folder.is_none() {
        // not `eprintln`: the test harness would keep it to itself
        let mut stderr = std::io::stderr().lock();
        let what = "skipped, the real cuDNN: REAL_CUDNN names no folder of libcudnn.so.9";
        writeln!(stderr, "{what}").unwrap();
    }
    folder.map(|folder| PathBuf::from(folder).join("libcudnn.so.9"))
}

#[test]
fn the_stand_in_refuses_with_the_statuses_of_the_table() {
    check(library::stand_in());
}

#[test]
fn cudnn_refuses_with_the_statuses_of_the_table() {
    if let Some(path) = real() {
        check(path);
    }
}

#[test]
fn the_stand_in_hands_out_engines_and_plans_by_cudnns_conventions() {
    follow_conventions(library::stand_in());
}

#[test]
fn cudnn_hands_out_engines_and_plans_by_its_conventions() {
    if let Some(path) = real() {
        follow_conventions(path);
    }
}

#[test]
fn the_stand_in_refuses_what_crashes_cudnn_or_is_not_its_business() {
    let cases: [Case; 8] = [
        ("a tensor in a convolution's place", BAD_PARAM, |c| {
            c.set(c.create(OPERATION), 702, DESCRIPTOR, &[c.x() as i64])
        }),
        ("an operation that is a tensor", BAD_PARAM, |c| {
            c.set(c.create(GRAPH), 801, DESCRIPTOR, &[c.x() as i64])
        }),
        ("a config without an engine", BAD_PARAM, |c| c.finalize(c.create(CONFIG))),
        ("a config with an unfinalised engine", BAD_PARAM, |c| {
            let (config, engine) = (c.create(CONFIG), c.create(ENGINE));
            c.must_set(config, 300, DESCRIPTOR, &[engine as i64]);
            c.finalize(config)
        }),
        ("a plan without a config", BAD_PARAM, |c| c.finalize(c.create(PLAN))),
        ("a plan with an unfinalised config", NOT_FINALIZED, |c| {
            c.finalize(c.raw_plan(c.create(CONFIG)))
        }),
        ("a knob told to null", BAD_PARAM, |c| c.get_one(c.engine(), 1302, DESCRIPTOR).0),
        ("a pointwise operation", NOT_SUPPORTED, |c| c.try_create(13).0),
    ];
    let cudnn = Cudnn::load(&library::stand_in());
    for (name, expected, run) in cases {
        assert_eq!(run(&cudnn), expected, "{name}");
    }
}
