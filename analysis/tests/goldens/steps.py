"""Golden values for steps in short series: pip install numpy; python3 steps.py > steps.json

Everything is found by trying all there is, with no recursion in common with the code. Cuts: every part of a
series costs the least of squared deviations from the mean of some of its values plus the penalty for each of
the others; of all cuts, the cheapest. Penalties: of many series without a step, the most by which squared
deviations fall an event (step or outlier run), over the squared noise. `low` and `high` are its quantiles at
the level and at six standard errors of 7,999 simulations below it, and at 10% about these for the ratio of
noises, which is simulated as well.
"""

import itertools
import json

import numpy as np

SIMULATIONS = 7_999
random = np.random.default_rng(5)


def cuts(n):
    """Every way to cut n values, as parts (begin, end)."""
    for begins in itertools.product([0, 1], repeat=n - 1):
        bounds = [0, *(at + 1 for at, is_begin in enumerate(begins) if is_begin), n]
        yield list(itertools.pairwise(bounds))


def squares_by_outliers(values):
    """Of series (rows), the least squared deviations with 0, 1, … values left out: the rest are neighbours in
    order of size."""
    ordered = np.sort(values, axis=1)
    m = values.shape[1]
    windows = lambda left: [ordered[:, at:at + m - left] for at in range(left + 1)]
    return [np.min([w.var(axis=1) * (m - left) for w in windows(left)], axis=0) for left in range(m)]


def golden_cut(steps, penalty):
    values = np.concatenate([level + random.normal(size=n) for n, level in steps])
    n = len(values)
    parts = itertools.combinations(range(n + 1), 2)
    squares = {(a, b): [s[0] for s in squares_by_outliers(values[None, a:b])] for a, b in parts}
    cost = {part: min(s + left * penalty for left, s in enumerate(of)) for part, of in squares.items()}
    costs = [(sum(cost[part] for part in cut) + (len(cut) - 1) * penalty, cut) for cut in cuts(n)]
    # an outlier run at an end costs what a step there does: fewer steps
    least, cut = min(costs, key=lambda way: (round(way[0], 9), len(way[1])))
    outliers = sum(int(np.argmin([s + left * penalty for left, s in enumerate(squares[part])]))
                   for part in cut)
    return {"values": values.tolist(), "penalty": penalty, "cost": least,
            "steps": [begin for begin, _ in cut[1:]], "outliers": outliers}


def least_penalties(x):
    n = x.shape[1]
    squares = {(a, b): squares_by_outliers(x[:, a:b]) for a, b in itertools.combinations(range(n + 1), 2)}
    most = np.zeros(len(x))
    for cut in cuts(n):
        total = {0: np.zeros(len(x))}
        for part in cut:
            longer = {}
            for (events, sum_), (left, of_part) in itertools.product(total.items(), enumerate(squares[part])):
                new = sum_ + of_part
                longer[events + left] = np.minimum(longer[events + left], new) if events + left in longer else new
            total = longer
        for outliers, sum_ in total.items():
            if events := outliers + len(cut) - 1:
                most = np.maximum(most, (squares[(0, n)][0] - sum_) / events)
    return most


def noises(x, groups):
    groups = np.asarray(groups)
    members = [np.flatnonzero(groups == group) for group in sorted(set(groups))]
    squares = sum(x[:, of].var(axis=1) * len(of) for of in members)
    pooled = np.sqrt(squares / (x.shape[1] - len(members)))
    steps = np.concatenate([np.diff(x[:, of], axis=1) for of in members if len(of) > 1], axis=1)
    return pooled, np.median(np.abs(steps), axis=1) / (0.6744897501960817 * 2 ** 0.5)


def penalty(groups, level, count=100_000):
    x = random.normal(size=(count, len(groups)))
    pooled, successive = noises(x, groups)
    ratio = np.quantile(pooled / successive, 0.995)
    least = least_penalties(x) / np.minimum(pooled, ratio * successive) ** 2
    error = 6 * (level * (1 - level) / SIMULATIONS) ** 0.5
    low, high = np.quantile(least, [1 - level, 1 - max(level - error, level / 8)])
    return {"groups": groups, "level": level, "low": 0.9 * low, "high": 1.1 * high}


CUTS = [
    [(10, 0)],
    [(5, 0), (5, 5)],
    [(4, 0), (1, 9), (5, 0)],
    [(3, 0), (3, 6), (3, -1), (3, 8)],
    [(1, 0), (7, 9)],
    [(5, 0), (2, 7), (5, 0)],
    [(5, 0), (2, 8)],
]
print(json.dumps({
    "cuts": [golden_cut(steps, penalty) for steps in CUTS for penalty in (4.0, 8.0, 12.0, 16.0)],
    "penalties": [
        penalty(groups, level)
        for groups in ([0] * 8, [0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 2, 2, 3, 3])
        for level in (0.05, 0.00625)
    ],
}, indent=1))
