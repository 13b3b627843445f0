"""Writes objectives.json: a made-up dataset and the numbers of RO1-RO3 that NumPy and SciPy give.

    python3 analysis/tests/goldens/objectives.py

The latencies follow no model on purpose: only the arithmetic is compared.
"""

import json
import math
from pathlib import Path

import numpy as np
from scipy import stats

# published, Quadro T2000: S_K = ln(K*K) + 1, multiply-adds
PUBLISHED = {1: (0.02, 0.99, 0.0375), 2: (0.001, 0.56, 0.0375)}


def macs(o):
    return o["h"] * o["w"] * o["k"] ** 2 * o["c_in"] * o["c_out"]


def taps(pixels, kernel):
    """Pairs of an output and a tap that reads the image: convolution of ones with ones."""
    before = (kernel - 1) // 2
    padded = np.pad(np.ones(pixels), (before, kernel - 1 - before))
    return int(np.convolve(padded, np.ones(kernel), mode="valid").sum())


def macs_on_image(o):
    return o["c_in"] * o["c_out"] * taps(o["h"], o["k"]) * taps(o["w"], o["k"])


def estimate(o):
    beta, gamma, final = PUBLISHED[1 if o["k"] == 1 else 2]
    s, s_k = o["h"] * o["w"], math.log(o["k"] ** 2) + 1
    return final * ((s_k + beta * (s - s_k)) / s) ** gamma * macs(o) / 1e6


def observations():
    rng = np.random.default_rng(7)
    rows = []

    def add(experiment, series, x, h, w, c_in, c_out, k, ms):
        rows.append(dict(experiment=experiment, series=series, x=x, h=h, w=w, c_in=c_in,
                         c_out=c_out, k=k, ms=float(ms * rng.uniform(0.8, 1.25))))

    for h, w, c_in, c_out in [(1, 2, 100, 50), (2, 2, 50, 50), (4, 4, 25, 25)]:
        for x in range(4):
            add("A", f"H×W = {h}×{w}", x, h, w, c_in * 2**x, c_out * 2**x, 1, 0.01 * 4**x / h)
    for c in (50, 100):
        for k in (1, 2, 3, 5, 8, 13, 30):
            add("B", f"C = {c}", k, round(300 / k), round(300 / k), c, c, k, 0.2 * c * k**0.4)
    for r in (1500, 4500):
        for k in (1, 2, 4, 9, 24):
            add("C", f"C·K = {r}", k, 10, 10, round(r / k), round(r / k), k, 1e-3 * r * k**-0.1)
    for c in (50, 100):
        for w in (10, 20, 100, 300, 640):
            add("D", f"C_in = {c}", w, 100, w, c, 100, 3, 1e-4 * c * w)
    return rows


def slope(x, y, parameters, lines):
    """Least squares with an intercept; `parameters` degrees of freedom are spent in all. The intervals of so
    many lines hold together (Bonferroni)."""
    x, y = np.asarray(x), np.asarray(y)
    fit = stats.linregress(x, y)
    error = fit.stderr * math.sqrt((len(x) - 2) / (len(x) - parameters))
    half = stats.t.ppf(1 - 0.025 / lines, len(x) - parameters) * error
    return [fit.slope, fit.slope - half, fit.slope + half]


def grouped(rows, key):
    groups = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def ratio(values):
    return max(values) / min(values)


def heterogeneity(values):
    """Without noise, the variance of logarithms is all between configurations, and its interval that of a
    variance by chi squared."""
    logs = np.log(values)
    squares, freedom = np.sum((logs - logs.mean())**2), len(values) - 1
    ends = [freedom, *stats.chi2.isf([0.025, 0.975], freedom)]
    # the median ratio of two that are drawn at random
    typical = np.exp(math.sqrt(2) * stats.norm.ppf(0.75) * np.sqrt(squares / np.array(ends)))
    return [*typical, np.exp(logs.min() - logs.mean()), np.exp(logs.max() - logs.mean())]


def equal_flops(rows):
    result = []
    for experiment in "ABC":
        chosen = [o for o in rows if o["experiment"] == experiment]
        key = (lambda o: f"x = {o['x']}") if experiment == "A" else (lambda o: o["series"])
        for name, group in grouped(chosen, key).items():
            result.append([experiment, name, ratio([macs(o) for o in group]),
                           heterogeneity([o["ms"] / macs(o) for o in group]),
                           heterogeneity([o["ms"] / macs_on_image(o) for o in group])])
    return result


def elasticities(rows):
    result = []
    for experiment in "BCD":
        chosen = [o for o in rows if o["experiment"] == experiment]
        lines = grouped(chosen, lambda o: o["series"])
        for name, group in lines.items():
            if experiment == "D":
                x, y = [o["x"] for o in group], [o["ms"] for o in group]
                on_image = None
            else:
                x, y = [o["k"] for o in group], [o["ms"] / macs(o) for o in group]
                per_mac = [o["ms"] / macs_on_image(o) for o in group]
                on_image = slope(np.log(x), np.log(per_mac), 2, len(lines))
            result.append([experiment, name, slope(np.log(x), np.log(y), 2, len(lines)), on_image])
    x, y = [], []
    groups = grouped([o for o in rows if o["experiment"] == "A"], lambda o: o["x"])
    for group in groups.values():
        pixels = np.log([o["h"] * o["w"] for o in group])
        times = np.log([o["ms"] for o in group])
        x.extend(pixels - pixels.mean())
        y.extend(times - times.mean())
    result.append(["A", "all", slope(x, y, len(groups) + 1, 1), None])
    return result


def against_raw_flops(rows):
    t, f = np.array([o["ms"] for o in rows]), np.array([2.0 * macs(o) for o in rows])
    factor = np.linalg.lstsq(f[:, None], t, rcond=None)[0][0]
    alpha, result = np.array([estimate(o) for o in rows]), []
    experiments = np.array([o["experiment"] for o in rows])
    series = np.array([o["experiment"] + o["series"] for o in rows])
    for name in ["all", "A", "B", "C", "D"]:
        chosen = np.full(len(rows), True) if name == "all" else experiments == name
        for kind, guess in [("alpha", alpha), ("raw", factor * f)]:
            off = (guess - t)[chosen]
            rmse = math.sqrt(np.mean(off**2))
            lines = [chosen & (series == line) for line in set(series[chosen])]
            line_nrmse = [100 * math.sqrt(np.mean((guess - t)[line]**2)) / np.ptp(t[line])
                          for line in lines]
            result.append([name, kind, rmse, 100 * rmse / np.ptp(t[chosen]),
                           float(100 * np.mean(np.abs(off / t[chosen]))),
                           float(np.median(line_nrmse))])
    return result


def main():
    rows = observations()
    golden = dict(observations=rows, equal_flops=equal_flops(rows),
                  elasticities=elasticities(rows), against_raw_flops=against_raw_flops(rows))
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")


main()
