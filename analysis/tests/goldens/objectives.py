"""Writes objectives.json: a made-up dataset and the numbers of RO1-RO3 that NumPy and SciPy give.

    python3 analysis/tests/goldens/objectives.py

The latencies follow no model on purpose: only the arithmetic is compared.
"""

import json
import math
from pathlib import Path

import numpy as np
from scipy import optimize, special, stats

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


def estimates(rows):
    """Latency, flops, and both models' estimates; raw FLOPs' factor is that of all other lines."""
    t, f = np.array([o["ms"] for o in rows]), np.array([2.0 * macs(o) for o in rows])
    series = np.array([o["experiment"] + o["series"] for o in rows])
    raw = np.empty(len(rows))
    for line in set(series):
        others = series != line
        factor = np.linalg.lstsq(f[others, None], t[others], rcond=None)[0][0]
        raw[~others] = factor * f[~others]
    return t, np.array([estimate(o) for o in rows]), raw, series


def names_and_rows(rows):
    experiments = np.array([o["experiment"] for o in rows])
    for name in ["all", "A", "B", "C", "D"]:
        yield name, np.full(len(rows), True) if name == "all" else experiments == name


def by_line(values, series, chosen):
    """Of the chosen rows line by line, in the order of their first appearance."""
    return [values[chosen & (series == line)] for line in dict.fromkeys(series[chosen])]


def against_raw_flops(rows):
    t, alpha, raw, series = estimates(rows)
    result = []
    for name, chosen in names_and_rows(rows):
        for kind, guess in [("alpha", alpha), ("raw", raw)]:
            off = (guess - t)[chosen]
            rmse = math.sqrt(np.mean(off**2))
            lines = zip(by_line(guess - t, series, chosen), by_line(t, series, chosen))
            line_nrmse = [100 * math.sqrt(np.mean(o**2)) / np.ptp(line) for o, line in lines]
            result.append([name, kind, rmse, 100 * rmse / np.ptp(t[chosen]),
                           float(100 * np.mean(np.abs(off / t[chosen]))),
                           float(np.median(line_nrmse))])
    return result


def ends(x, error, df):
    """Of the root of x, whose logarithm has this error: as the docs of raw_flops/interval.rs say."""
    half = stats.t.ppf(0.975, df) * error
    return [math.sqrt(x) * math.exp(-half / 2), math.sqrt(x) * math.exp(half / 2)]


def moderated(variances, dfs):
    """As limma's squeezeVar and eBayes (Smyth 2004), by a root of trigamma found by bisection."""
    v, d = np.array(variances), np.array(dfs, dtype=float)
    e = np.log(v) - special.digamma(d / 2) + np.log(d / 2)
    excess = np.var(e, ddof=1) - np.mean(special.polygamma(1, d / 2))
    if excess <= 0:
        return np.full(len(v), np.exp(np.mean(e))), np.full(len(v), np.sum(d))
    half = optimize.brentq(lambda x: special.polygamma(1, x) - excess, 1e-6, 1e9, xtol=1e-14)
    prior = math.exp(np.mean(e) + special.digamma(half) - math.log(half))
    total = 2 * half + d
    return (2 * half * prior + d * v) / total, np.minimum(total, np.sum(d))


def ro3_intervals(rows):
    """Over lines only: of the difference of RMSE, and of the median line's NRMSE in percent."""
    t, alpha, raw, series = estimates(rows)
    groups = []
    for name, chosen in names_and_rows(rows):
        a = np.array([np.sum(o**2) for o in by_line(alpha - t, series, chosen)])
        b = np.array([np.sum(o**2) for o in by_line(raw - t, series, chosen)])
        lines = zip(by_line(alpha - t, series, chosen), by_line(t, series, chosen))
        squares = np.array([np.mean(o**2) / np.ptp(line)**2 for o, line in lines])
        rmse = math.sqrt(np.sum(b) / np.sum(chosen))
        groups.append((name, rmse, a, b, squares))
    dfs = [len(a) - 1 for _, _, a, _, _ in groups]
    own = [[np.var(np.log(a / b), ddof=1) for _, _, a, b, _ in groups],
           [np.var(np.log(squares), ddof=1) for *_, squares in groups]]
    # all experiments together come first, and by themselves
    variances = [np.concatenate([o[:1], moderated(o[1:], dfs[1:])[0]]) for o in own]
    degrees = [np.concatenate([dfs[:1], moderated(o[1:], dfs[1:])[1]]) for o in own]
    result = []
    for i, (name, rmse, a, b, squares) in enumerate(groups):
        weights = np.sum((b / np.sum(b))**2)
        error = math.sqrt(weights * variances[0][i])
        difference = ends(np.sum(a) / np.sum(b), error, degrees[0][i])
        error = math.sqrt(math.pi / 2 / len(a) * variances[1][i])
        nrmse = ends(np.median(np.sqrt(squares))**2, error, degrees[1][i])
        result.append([name, *[rmse * (end - 1) for end in difference],
                       *[100 * end for end in nrmse]])
    return result


def bootstrap_error(rows):
    """Standard error of raw FLOPs' factor (ms per million multiply-adds) by SciPy's bootstrap, with
    kernels of one pixel and others drawn apart."""
    t, f = np.array([o["ms"] for o in rows]), np.array([macs(o) / 1e6 for o in rows])
    is_one = np.array([o["k"] == 1 for o in rows])

    def factor(one, above):
        drawn = np.concatenate([one, above]).astype(int)
        return np.sum(t[drawn] * f[drawn]) / np.sum(f[drawn]**2)

    samples = np.flatnonzero(is_one), np.flatnonzero(~is_one)
    drawn = stats.bootstrap(samples, factor, n_resamples=20_000, vectorized=False,
                            method="percentile", rng=np.random.default_rng(1))
    return float(drawn.standard_error)


def main():
    rows = observations()
    golden = dict(observations=rows, equal_flops=equal_flops(rows),
                  elasticities=elasticities(rows), against_raw_flops=against_raw_flops(rows),
                  ro3_intervals=ro3_intervals(rows), bootstrap_error=bootstrap_error(rows))
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")


main()
