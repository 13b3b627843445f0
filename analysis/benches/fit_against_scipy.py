"""Times `alpha-flops fit` against scipy.optimize.curve_fit on the same made-up sweep.

Run: cargo build --release -p alpha-flops-analysis
     python3 fit_against_scipy.py [--binary target/release/alpha-flops] [--rows 1433600]

Needs NumPy, SciPy and PyArrow. The sweep is the paper's grid (every H x W of ten sizes, 32 channel
counts, K = 1..14), with times of the formula plus a launch and a seeded noise. Prints for each the time,
the peak memory and the residual sums of both groups: of ours of the whole command, reading included; of
SciPy's of the fits alone, the columns being in memory, from the published start, within the published
bounds. Then the ratio, and ours again on a tenth of the rows, and with a fourth parameter.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.optimize import curve_fit

SIDES = [1, 2, 4, 8, 16, 32, 64, 96, 128, 256]
CHANNELS = list(range(10, 100, 10)) + list(range(100, 1101, 50)) + [1600, 3200]
TRUTH = {True: (0.02, 0.99, 0.0375), False: (0.001, 0.56, 0.0375)}


def grid(rows, seed):
    axes = np.meshgrid(SIDES, SIDES, CHANNELS, CHANNELS, np.arange(1, 15), indexing="ij")
    all_rows = np.stack([axis.ravel() for axis in axes])
    random = np.random.default_rng(seed)
    order = random.permutation(all_rows.shape[1])[:rows]
    h, w, i, o, k = all_rows[:, order].astype(np.int64)
    x = inputs(h, w, i, o, k)
    one = k == 1
    ms = np.where(one, model(x, *TRUTH[True]), model(x, *TRUTH[False]))
    ms = 0.02 + ms * np.exp(0.1 * random.standard_normal(len(ms)))
    return h, w, i, o, k, ms


def inputs(h, w, i, o, k):
    return np.array([(np.log(k * k) + 1) / (h * w), h * w * k * k * i * o / 1e6])


def model(x, beta, gamma, final):
    ratio, flops = x
    return final * (ratio + beta * (1 - ratio)) ** gamma * flops


def write(path, h, w, i, o, k, ms):
    n = len(h)
    same = {
        "source": "made up", "backend": "none", "device": "none", "versions": "none",
        "protocol": "none", "experiment": "sweep", "series": "sweep",
    }
    text = lambda value: pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), [value])
    ids = [f"h={a}_w={b}_in={c}_out={d}_k={e}" for a, b, c, d, e in zip(h, w, i, o, k)]
    columns = {name: (text(value), pa.string(), False) for name, value in same.items()}
    columns["x"] = (pa.array(np.arange(n, dtype=float)), pa.float64(), False)
    columns["id"] = (pa.array(ids), pa.string(), False)
    for name, values in zip(("height", "width", "in_channels", "out_channels", "kernel"), (h, w, i, o, k)):
        columns[name] = (pa.array(values), pa.int64(), False)
    absent = lambda type_: (pa.nulls(n, type_), type_, True)
    columns["algorithm"] = absent(pa.string())
    columns["median_ns"] = (pa.array(ms * 1e6), pa.float64(), True)
    columns["mean_ns"] = (pa.array(ms * 1.01e6), pa.float64(), True)
    columns["q1_ns"] = (pa.array(ms * 0.99e6), pa.float64(), True)
    columns["q3_ns"] = (pa.array(ms * 1.02e6), pa.float64(), True)
    columns["launches"] = (pa.array(np.full(n, 50)), pa.int64(), True)
    columns["outliers_mild"], columns["outliers_severe"] = absent(pa.int64()), absent(pa.int64())
    schema = pa.schema([pa.field(name, t, nullable=null) for name, (_, t, null) in columns.items()])
    arrays = [array.cast(t) for array, t, _ in columns.values()]
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), path, compression="snappy")


# a process counts what it was forked from, too: from here that would be the arrays of this one
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
"""


def ours(binary, path, *options, repeats=5):
    """Best time in seconds, peak memory in MB, and the fit."""
    command = [binary, "fit", path, "--s-k", "area", "--flops", "macs", "--format", "json", *options]
    times, output = [], b""
    for _ in range(repeats):
        start = time.perf_counter()
        output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
        times.append(time.perf_counter() - start)
    small = [sys.executable, "-I", "-c", PEAK, *command]
    memory = float(subprocess.run(small, stdout=subprocess.PIPE, check=True).stdout)
    return min(times), memory, json.loads(output)


def scipys(x, one, ms):
    start, sums = time.perf_counter(), []
    for rows in (one, ~one):
        parameters, _ = curve_fit(
            model, x[:, rows], ms[rows], p0=(0.01, 0.8, 0.3), bounds=([0, 0, 0], [2, 2, 2])
        )
        sums.append((parameters, float(np.sum((model(x[:, rows], *parameters) - ms[rows]) ** 2))))
    return time.perf_counter() - start, sums


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", default="target/release/alpha-flops")
    parser.add_argument("--rows", type=int, default=len(SIDES) ** 2 * len(CHANNELS) ** 2 * 14)
    parser.add_argument("--seed", type=int, default=4)
    arguments = parser.parse_args()
    h, w, i, o, k, ms = grid(arguments.rows, arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        path, tenth = f"{folder}/sweep.parquet", f"{folder}/tenth.parquet"
        write(path, h, w, i, o, k, ms)
        few = slice(None, None, 10)
        write(tenth, h[few], w[few], i[few], o[few], k[few], ms[few])
        seconds, memory, fit = ours(arguments.binary, path)
        less, _, _ = ours(arguments.binary, tenth)
        more, _, _ = ours(arguments.binary, path, "--constant")
    scipy_seconds, groups = scipys(inputs(h, w, i, o, k), k == 1, ms)
    print(f"rows                     {len(ms)}")
    print(f"alpha-flops fit          {seconds:.3f} s, {memory:.0f} MB, reading Parquet included")
    print(f"  of a tenth of the rows {less:.3f} s")
    print(f"  with a constant time   {more:.3f} s")
    print(f"curve_fit                {scipy_seconds:.3f} s, columns already in memory")
    print(f"ratio                    {scipy_seconds / seconds:.1f}")
    for name, (parameters, total) in zip(("k_equal_1", "k_above_1"), groups):
        mine = fit[name]
        print(f"{name}: residual sums (ms^2) {mine['residual_sum_ms2']:.9g} ours, {total:.9g} SciPy")
        print(f"  beta, gamma, final {mine['beta']:.7g} {mine['gamma']:.7g} {mine['final']:.7g} ours,",
              " ".join(f"{p:.7g}" for p in parameters), "SciPy; RMSE", f"{mine['rmse_ms']:.6g} ms")


main()
