"""A pickle of the original study's structure with made-up numbers, for src/import.

Run: python3 asperti_like.py    (writes asperti_like.pickle beside itself; needs NumPy)
"""

import pathlib
import pickle

import numpy

HARDWARE = {"GPU": "Imaginary 1000", "computeCapability": 7.5, "coreClock": 1.62, "coreCount": 16}


def plot(name, *lines):
    """Lines of rows [H, W, C_in, C_out, K1, K2, T_ms]."""
    return {
        "name": name,
        "no_lines": len(lines),
        "axis": 4,
        "ylim": None,
        "text": [(1, 17.5, "$C_{in} = 8$")],
        "lines": [numpy.array(line, dtype=float) for line in lines],
        "hardware": HARDWARE,
    }


def k(side):
    return [side, side]


PLOTS = [
    plot("conv_K_vs_S", [[32, 32, 8, 8, *k(1), 0.5], [16, 16, 8, 8, *k(2), 0.25]]),
    plot("increasing_W", [[10, 100, 5, 7, *k(3), 0.125], [20, 100, 5, 7, *k(3), 1.5]]),
    plot("increasing_Cout", [[100, 100, 5, 10, *k(3), 0.1]]),
    plot("increasing_Cout_with_K1", [[300, 100, 50, 10, *k(1), 0.2]], [[300, 200, 50, 10, *k(1), 0.3]]),
    plot("conv_K_vs_C", [[10, 10, 30, 30, *k(1), 0.3], [10, 10, 15, 15, *k(2), 0.4]]),
    plot(
        "conv_fixed_progressive",
        [[1, 1, 400, 400, *k(1), 0.6]],
        [[1, 2, 800, 400, *k(1), 0.7]],
        [[2, 2, 400, 100, *k(1), 0.8]],
        [[2, 2, 200, 200, *k(1), 0.9]],
    ),
    plot("incresing_Cin_100-1000", [[10, 10, 100, 1000, *k(5), 1.1]]),
    plot("increasing_batch", [[1, 1, 64, 64, *k(1), 1.2], [2, 1, 64, 64, *k(1), 1.3]]),
]

target = pathlib.Path(__file__).with_suffix(".pickle")
target.write_bytes(pickle.dumps({"plots": PLOTS}, protocol=5))
