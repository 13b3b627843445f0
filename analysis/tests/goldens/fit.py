"""Constrained least-squares fits by SciPy, for src/fit.rs.

Run: python3 fit.py > fit.json                      made-up latencies, rows included
     python3 fit.py ORIGINAL.csv > fit_original.json   the imported original study, results only

Needs NumPy and SciPy. scipy.optimize.curve_fit at the tightest tolerances it takes, with analytic
derivatives, from several starts inside the bounds; the smallest residual sum is kept.
"""

import csv
import json
import math
import sys

import numpy as np
from scipy.optimize import curve_fit

STARTS = [
    (0.01, 0.8, 0.3),
    (0.001, 0.5, 0.03),
    (0.1, 1.0, 0.01),
    (1e-4, 0.3, 0.1),
    (0.5, 1.5, 0.005),
    (0.02, 1.8, 1.0),
    (1e-6, 0.9, 1.9),
]


def s_k(k, term):
    return np.log(k * k) + 1 if term == "area" else np.log(k) + 1


def model(x, beta, gamma, final):
    ratio, flops = x
    return final * (ratio + beta * (1 - ratio)) ** gamma * flops


def jacobian(x, beta, gamma, final):
    ratio, flops = x
    base = ratio + beta * (1 - ratio)
    unit = base**gamma * flops
    return np.column_stack(
        [final * unit * gamma * (1 - ratio) / base, final * unit * np.log(base), unit]
    )


def fit_group(rows, term, factor):
    h, w, i, o, k, ms = rows.T
    x = np.array([s_k(k, term) / (h * w), factor * h * w * k * k * i * o / 1e6])
    best = None
    for start in STARTS:
        for scale in ("jac", 1.0):
            try:
                (p, _) = curve_fit(
                    model, x, ms, p0=start, bounds=([0, 0, 0], [2, 2, 2]), jac=jacobian,
                    ftol=1e-15, xtol=1e-15, gtol=1e-15, x_scale=scale, max_nfev=20000,
                )
            except RuntimeError:
                continue
            ssr = float(np.sum((model(x, *p) - ms) ** 2))
            if best is None or ssr < best[1]:
                best = (p, ssr)
    p, ssr = best
    result = {"beta": p[0], "gamma": p[1], "final": p[2], "ssr": ssr, "n": len(ms)}
    result["standard_errors"] = standard_errors(x, p, ssr, len(ms))
    return result


def standard_errors(x, p, ssr, n):
    """Of the parameters that are not at a bound; the others are fixed."""
    free = [j for j in range(3) if 1e-9 < p[j] < 2 - 1e-9]
    j = jacobian(x, *p)[:, free]
    q, r = np.linalg.qr(j)
    inverse = np.linalg.inv(r)
    variance = ssr / (n - len(free)) * np.sum(inverse**2, axis=1)
    return {str(f): math.sqrt(v) for f, v in zip(free, variance)}


def fit(rows, term, factor):
    rows = np.array(rows, dtype=float)
    ones = rows[:, 4] == 1
    groups = {"k_equal_1": rows[ones], "k_above_1": rows[~ones]}
    return {g: fit_group(r, term, factor) if len(r) else None for g, r in groups.items()}


def noise(index, amplitude):
    """A deterministic stand-in for noise: a linear congruential generator, one step a row."""
    state = (index * 1103515245 + 12345) % 2**31
    state = (state * 1103515245 + 12345) % 2**31
    return 1 + amplitude * (2 * state / 2**31 - 1)


def latencies(shapes, one, above, term, amplitude):
    rows = []
    for index, (h, w, i, o, k) in enumerate(shapes):
        beta, gamma, final = one if k == 1 else above
        x = np.array([s_k(np.float64(k), term) / (h * w), h * w * k * k * i * o / 1e6])
        ms = float(model(x, beta, gamma, final)) * noise(index, amplitude)
        rows.append([h, w, i, o, k, float(f"{ms:.12g}")])
    return rows


def squares():
    return [
        (side, side, i, o, k)
        for side in (1, 2, 4, 8, 16, 32, 64, 128)
        for i, o in ((20, 50), (100, 300))
        for k in (1, 2, 3, 5, 9)
    ]


def suite():
    """Experiments A to G at the original resolution."""
    sizes = [10] + list(range(20, 641, 20))
    return (
        [(1, 2, 100 << x, 50 << x, 1) for x in range(9)]
        + [(2, 2, 50 << x, 50 << x, 1) for x in range(9)]
        + [(4, 4, 25 << x, 25 << x, 1) for x in range(9)]
        + [(round(300 / k),) * 2 + (c, c, k) for c in (50, 70, 100, 150) for k in range(1, 31)]
        + [(10, 10) + (round(r / k),) * 2 + (k,) for r in (1500, 2100, 3000, 4500) for k in range(1, 31)]
        + [(100, w, i, 100, 3) for i in (50, 100, 150) for w in sizes]
        + [(100, 100, i, o, 3) for i in (50, 100, 150) for o in sizes]
        + [(h, 100, 50, o, 1) for h in (100, 200, 300) for o in sizes]
        + [(10, 10, i, 1000, k) for k in (1, 3, 5) for i in range(100, 901, 100)]
    )


T2000 = (0.02, 0.99, 0.0375), (0.001, 0.56, 0.0375)
RTX4090 = (0.0097, 1.178, 0.0055), (0.00785, 1.06, 0.00402)


def original(path):
    with open(path, newline="") as file:
        return [
            [float(row[name]) for name in ("height", "width", "in_channels", "out_channels", "kernel")]
            + [float(row["mean_ns"]) / 1e6]
            for row in csv.DictReader(file)
        ]


def main():
    if len(sys.argv) > 1:
        rows = original(sys.argv[1])
        cases = [
            {"name": f"original, {t}, {f}", "s_k": t, "flops": f, "fit": fit(rows, t, n)}
            for t, f, n in (("area", "macs", 1), ("side", "macs", 1), ("area", "two-per-mac", 2))
        ]
    else:
        only_ones = [s for s in squares() if s[4] == 1]
        cases = [
            ("noisy", squares(), *T2000, "area", "macs", 0.05),
            ("noiseless", squares(), *RTX4090, "side", "macs", 0.0),
            ("two FLOPs a multiply-add", squares(), *RTX4090, "side", "two-per-mac", 0.2),
            ("suite", suite(), *T2000, "area", "macs", 0.3),
            ("suite, side", suite(), *RTX4090, "side", "macs", 0.1),
            ("gamma and final at their bounds", squares(), (0.05, 2.6, 0.1), (0.05, 1.7, 5.0), "side", "macs", 0.02),
            ("beta at zero", squares(), (0.0, 0.7, 0.05), (-0.00005, 0.6, 0.05), "area", "macs", 0.02),
            ("K = 1 only", only_ones, (0.03, 0.9, 0.04), (0, 0, 0), "area", "macs", 0.05),
        ]
        cases = [
            {"name": name, "s_k": term, "flops": flops, "rows": rows,
             "fit": fit(rows, term, 1 if flops == "macs" else 2)}
            for name, shapes, one, above, term, flops, amplitude in cases
            for rows in [latencies(shapes, one, above, term, amplitude)]
        ]
    # one row a line keeps differences readable
    print(json.dumps(cases).replace('], [', '],\n ['))


main()
