"""Golden values for variance: autocorrelation by statsmodels, the dip by diptest, trends by SciPy,
variance components by the formulas of Searle, Casella and McCulloch (1992), written out with NumPy.

Prints Rust for the critical dips of analysis/src/variance/modes.rs, out of diptest's table.

Run in a virtual environment with numpy, scipy, statsmodels and diptest:
    python analysis/tests/goldens/variance.py
"""

import json
from pathlib import Path

import diptest
import numpy as np
from diptest.consts import Consts
from scipy import stats
from statsmodels.tsa.stattools import acf

rng = np.random.default_rng(1)


def autoregressive(n, phi):
    values = [rng.normal()]
    for _ in range(n - 1):
        values.append(phi * values[-1] + np.sqrt(1 - phi**2) * rng.normal())
    return np.exp(0.02 * np.array(values)) * 1e5


def samples():
    """Values of several shapes and lengths, with and without ties."""
    yield "independent", rng.lognormal(11, 0.1, 60)
    yield "few", rng.lognormal(11, 0.1, 7)
    yield "autoregressive", autoregressive(120, 0.8)
    yield "bimodal", np.concatenate([rng.normal(40, 1, 70), rng.normal(55, 2, 30)])
    yield "three modes", np.concatenate([rng.normal(m, 1, 40) for m in (10, 20, 30)])
    yield "tied", np.round(rng.normal(50, 2, 80))
    yield "tied at the ends", np.array([1.0] * 20 + list(range(2, 12)) + [12.0] * 15)
    yield "rising", np.linspace(100, 110, 40) + rng.normal(0, 2, 40)
    yield "uniform", np.arange(1.0, 31.0)
    for n in (5, 11, 23, 50, 99):
        yield f"skewed {n}", rng.exponential(10, n)
        yield f"coarse {n}", np.round(rng.gamma(2, 3, n)) + 1
        yield f"two uniform {n}", np.concatenate([rng.uniform(0, 1, n), rng.uniform(1.5, 2, n // 2)])


def golden(name, values):
    n = len(values)
    return {
        "name": name,
        "values": list(map(float, values)),
        "autocorrelation": list(map(float, acf(values, nlags=3, fft=False)[1:])),
        "dip": float(diptest.dipstat(np.sort(values), allow_zero=False)),
        # times n: the change over the values and a step
        "theil_sen": float(stats.theilslopes(values, np.arange(n)).slope * n),
        "mann_kendall": float(stats.kendalltau(np.arange(n), values, method="asymptotic").pvalue),
    }


def components(runs):
    """ANOVA of a nested design: seed, logarithm of the median, squared standard error."""
    seeds = np.array([r[0] for r in runs])
    logs = np.array([r[1] for r in runs])
    within = np.mean([r[2] for r in runs])
    n = len(logs)
    groups = [logs[seeds == seed] for seed in np.unique(seeds)]
    a = len(groups)
    between = sum(len(g) * (g.mean() - logs.mean()) ** 2 for g in groups) / (a - 1)
    inside = sum(((g - g.mean()) ** 2).sum() for g in groups) / (n - a)
    n0 = (n - sum(len(g) ** 2 for g in groups) / n) / (a - 1)
    return {
        "runs": runs,
        "orders": float((between - inside) / n0),
        "within_orders": float(inside - within),
        "within": float(within),
    }


def designs():
    for counts in ([2, 2, 2], [3, 1, 2, 4], [1, 5]):
        runs = []
        for seed, count in enumerate(counts, 1):
            order = rng.normal(0, 0.02)
            for _ in range(count):
                runs.append([seed, 11 + order + rng.normal(0, 0.005), rng.uniform(1e-7, 1e-6)])
        yield components(runs)


def critical():
    """1 of 1,000 uniform samples has a larger sqrt(n) * dip."""
    column = int(np.argmin(np.abs(Consts._ALPHA - 0.999)))
    for n, row in zip(Consts._SAMPLE_SIZE, Consts._CRIT_VALS):
        yield int(n), float(np.sqrt(n) * row[column])


def main():
    out = {
        "samples": [golden(name, values) for name, values in samples()],
        "designs": list(designs()),
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(out, indent=1) + "\n")
    pairs = [f"({n}.0, {value:.4f})" for n, value in critical()]
    print(f"const CRITICAL: [(f64, f64); {len(pairs)}] = [\n    " + ",\n    ".join(pairs) + ",\n];")


if __name__ == "__main__":
    main()
