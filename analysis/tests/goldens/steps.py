"""Golden values for steps in short series: pip install numpy ruptures; python3 steps.py > steps.json

Cuts are ruptures' (Truong, Oudre and Vayatis, Signal Processing 167, 2020): PELT with squared
deviations and no least length. Penalties are NumPy's: of all 2^(n-1) cuts of many series without a
step, the largest fall of squared deviations a step, over the pooled variance within groups. `low` and
`high` are its quantiles at the level and at six standard errors of 7,999 simulations below it.
"""

import itertools
import json

import numpy as np
import ruptures

SIMULATIONS = 7_999
random = np.random.default_rng(5)


def cut(steps):
    values = np.concatenate([level + random.normal(size=n) for n, level in steps])
    penalty = float(random.choice([2.0, 4.0, 8.0]))
    algorithm = ruptures.Pelt(model="l2", min_size=1, jump=1).fit(values.reshape(-1, 1))
    found = [int(end) for end in algorithm.predict(pen=penalty)[:-1]]
    return {"values": values.tolist(), "penalty": penalty, "steps": found}


def projection(groups):
    groups = np.asarray(groups)
    same = (groups[:, None] == groups[None, :]).astype(float)
    return same / same.sum(axis=1, keepdims=True)


def least_penalties(groups, count=200_000):
    n = len(groups)
    x = random.normal(size=(count, n))
    explained = lambda p: np.einsum("ij,ij->i", x @ p, x)
    mean = explained(projection([0] * n))
    least = np.zeros(count)
    for begins in itertools.product([0, 1], repeat=n - 1):
        if sum(begins):
            levels = np.cumsum([0, *begins])
            least = np.maximum(least, (explained(projection(levels)) - mean) / sum(begins))
    freedom = n - len(set(groups))
    variance = ((x**2).sum(axis=1) - explained(projection(groups))) / freedom
    return least / variance


def penalty(groups, level):
    least = least_penalties(groups)
    error = 6 * (level * (1 - level) / SIMULATIONS) ** 0.5
    low, high = np.quantile(least, [1 - level, 1 - level + error])
    return {"groups": groups, "level": level, "low": low, "high": high}


CUTS = [
    [(10, 0)],
    [(5, 0), (5, 3)],
    [(4, 0), (1, 6), (5, 0)],
    [(3, 0), (3, 4), (3, -1), (8, 1)],
    [(1, 0), (7, 9)],
    [(20, 0), (20, 1.5), (20, 0)],
]
print(json.dumps({
    "cuts": [cut(steps) for steps in CUTS for _ in range(5)],
    "penalties": [
        penalty(groups, level)
        for groups in ([0] * 8, [0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 2, 2, 3, 3])
        for level in (0.05, 0.00625)
    ],
}, indent=1))
