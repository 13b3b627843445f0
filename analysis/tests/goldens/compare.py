"""Tests between runs by SciPy, for src/compare/tests.rs.

Run: python3 compare.py > compare.json

Needs NumPy and SciPy. Configurations are numbers of two experiments, in 3 runs before and 4 after;
groups by scipy.stats.ttest_ind on runs' means; p values of configurations by Student's distribution
with the moderated variances of Smyth (2004), whose d0 is here found by brentq on
scipy.special.polygamma instead of Newton's method; Benjamini-Hochberg by
scipy.stats.false_discovery_control.
"""

import json

import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma, polygamma
from scipy.stats import false_discovery_control, t as student, ttest_ind

rng = np.random.default_rng(20261125)
BEFORE, AFTER, SIZES = 3, 4, [11, 9]
ENOUGH_TO_SHARE = 8


def runs(n, slow):
    base = np.log(1e6) + np.arange(sum(SIZES)) / 4
    common = np.repeat(rng.normal(0, 0.004, (n, len(SIZES))), SIZES, axis=1)
    sd = 0.005 * np.sqrt(4 / np.random.default_rng(7).chisquare(4, sum(SIZES)))
    y = base + common + rng.normal(0, 1, (n, sum(SIZES))) * sd
    y[:, [2, 13]] += slow
    return y


def prior(variances, df):
    e = np.log(variances) - digamma(df / 2) + np.log(df / 2)
    excess = e.var(ddof=1) - polygamma(1, df / 2)
    assert excess > 0
    half = brentq(lambda x: polygamma(1, x) - excess, 1e-3, 1e6, xtol=1e-14, rtol=1e-14)
    return float(np.exp(e.mean() + digamma(half) - np.log(half))), float(2 * half)


before, after = runs(BEFORE, 0), runs(AFTER, 0.08)
df = BEFORE + AFTER - 2
edges = np.cumsum([0] + SIZES)
own = np.zeros(sum(SIZES))
common = np.zeros(len(SIZES))
for side in (before, after):
    deviation = side - side.mean(axis=0)
    for e, (low, high) in enumerate(zip(edges, edges[1:])):
        # the upper median of an even number: one configuration's own value
        shared = np.sort(deviation[:, low:high], axis=1)[:, (high - low) // 2]
        common[e] += (shared**2).sum()
        own[low:high] += ((deviation[:, low:high] - shared[:, None]) ** 2).sum(axis=0)
own, common = own / df, common / df
s0, d0 = prior(own, df)
moderated = (d0 * s0 + df * own) / (d0 + df)
of = np.repeat(common, SIZES)
total = of + moderated
total_df = total**2 / (of**2 / df + moderated**2 / (d0 + df))
se = np.sqrt(total * (1 / BEFORE + 1 / AFTER))
ratio = after.mean(axis=0) - before.mean(axis=0)
p = 2 * student.sf(abs(ratio) / se, total_df)
threshold = np.log(1.02)
equivalent = student.cdf((abs(ratio) - threshold) / se, total_df)
half = student.ppf(0.975, total_df) * se
groups = [slice(0, 20), slice(0, 11), slice(11, 20)]
tests = [ttest_ind(after[:, g].mean(axis=1), before[:, g].mean(axis=1)) for g in groups]
many = rng.uniform(0, 1, 40) ** 3

print(json.dumps({
    "before": before.tolist(),
    "after": after.tolist(),
    "sizes": SIZES,
    "prior": [s0, d0],
    "ln_ratio": ratio.tolist(),
    "df": total_df.tolist(),
    "p_different": p.tolist(),
    "p_equivalent": equivalent.tolist(),
    "interval": np.exp([ratio - half, ratio + half]).T.tolist(),
    "group_p": [float(test.pvalue) for test in tests],
    "trigamma": [[x, float(polygamma(1, x))] for x in (0.01, 0.3, 1.0, 2.5, 9.9, 40.0, 1e4)],
    "many_p": many.tolist(),
    "adjusted": false_discovery_control(many, method="bh").tolist(),
}))
