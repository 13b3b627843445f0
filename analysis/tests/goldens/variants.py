"""Least objectives of the fit's variants by SciPy, for src/fit/tests.rs.

Run: python3 variants.py > variants.json   (after fit.py: it takes the rows of fit.json)

Needs NumPy and SciPy. scipy.optimize.least_squares at the tightest tolerances it takes, from several
starts inside the bounds; the smallest objective is kept.
"""

import json
import pathlib

import numpy as np
from scipy.optimize import least_squares

STARTS = [
    (0.01, 0.8, 0.03), (0.001, 0.5, 0.03), (0.1, 1.0, 0.01), (1e-4, 0.3, 0.1), (0.5, 1.5, 0.005),
    (0.005, 1.1, 0.1), (1e-6, 0.9, 1.9), (0.02, 1.2, 0.005),
]
RESIDUALS = {
    "absolute": lambda e, t: e - t,
    "relative": lambda e, t: e / t - 1,
    "log": lambda e, t: np.log(e) - np.log(t),
}
CASES = ("noisy", "suite", "suite, side")


def least(rows, term, objective, constant):
    h, w, i, o, k, ms = rows.T
    ratio = (np.log(k * k if term == "area" else k) + 1) / (h * w)
    flops = h * w * k * k * i * o / 1e6

    def residuals(p):
        estimate = p[2] * (ratio + p[0] * (1 - ratio)) ** p[1] * flops
        return RESIDUALS[objective](estimate + (p[3] if constant else 0), ms)

    lengths = 4 if constant else 3
    low, high = [0, 0, 1e-12, 0][:lengths], [2, 2, 2, np.inf][:lengths]
    best = None
    for start in STARTS:
        for share in (0.01, 0.7) if constant else (0,):
            found = least_squares(
                residuals, [*start, share * ms.min()][:lengths], bounds=(low, high),
                ftol=1e-15, xtol=1e-15, gtol=1e-15, x_scale="jac", max_nfev=5000,
            )
            if best is None or found.cost < best:
                best = found.cost
    return 2 * best


def main():
    here = pathlib.Path(__file__).parent
    cases = []
    for golden in json.loads((here / "fit.json").read_text()):
        if golden["name"] not in CASES:
            continue
        rows = np.array(golden["rows"])
        # a launch of 20 µs, so that there is a T0 to find
        rows[:, 5] += 0.02
        for objective in RESIDUALS:
            for constant in (False, True):
                one = rows[:, 4] == 1
                sums = [least(rows[part], golden["s_k"], objective, constant) for part in (one, ~one)]
                cases.append({"name": golden["name"], "objective": objective, "constant": constant,
                              "k_equal_1": sums[0], "k_above_1": sums[1]})
    print(json.dumps(cases, indent=1))


main()
