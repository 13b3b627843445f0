"""Tests between runs by SciPy, for src/compare/tests.rs.

Run: python3 compare.py > compare.json

Needs NumPy and SciPy. Configurations are numbers of two experiments, in 3 runs before and 4 after;
groups by scipy.stats.ttest_ind on runs' means; p values of configurations by Student's distribution
with the moderated variances of Smyth (2004), whose d0 is here found by brentq on
scipy.special.polygamma instead of Newton's method; Benjamini-Hochberg by
scipy.stats.false_discovery_control. Serial correlation and drift by scipy.optimize on the density of the
data projected by an SVD, instead of Helmert's contrasts and a grid; spreads by matrices.
"""

import json

import numpy as np
from scipy.optimize import brentq, differential_evolution
from scipy.special import digamma, polygamma
from scipy.stats import f as fisher, false_discovery_control, t as student

rng = np.random.default_rng(20261125)
BEFORE, AFTER, SIZES = 3, 4, [11, 9]
ENOUGH_TO_SHARE = 8


def runs(n, slow, times):
    base = np.log(1e6) + np.arange(sum(SIZES)) / 4
    common = np.repeat(rng.normal(0, 0.004, (n, len(SIZES))), SIZES, axis=1)
    sd = 0.005 * np.sqrt(4 / np.random.default_rng(7).chisquare(4, sum(SIZES)))
    y = base + common + times * rng.normal(0, 1, (n, sum(SIZES))) * sd
    y[:, [2, 13]] += slow
    return y


def prior(variances, df):
    e = np.log(variances) - digamma(df / 2) + np.log(df / 2)
    excess = e.var(ddof=1) - polygamma(1, df / 2)
    assert excess > 0
    half = brentq(lambda x: polygamma(1, x) - excess, 1e-3, 1e6, xtol=1e-14, rtol=1e-14)
    return float(np.exp(e.mean() + digamma(half) - np.log(half))), float(2 * half)


def ratio_of_variances(own, df):
    """Of the sides, from configurations' own variances (2, m)."""
    ln = np.median(np.log(own[1] / own[0])) - np.log(fisher.ppf(0.5, df[1], df[0]))
    variance = np.pi / 2 * (polygamma(1, df[0] / 2) + polygamma(1, df[1] / 2)) / own.shape[1]
    return float(np.exp(ln * max(0, 1 - variance / ln**2)))


def covariance(rho, drift, n):
    rank = np.arange(n)
    t = (rank - (n - 1) / 2) / n
    return rho ** abs(rank[:, None] - rank) + drift * np.outer(t, t)


def projection(side):
    dummies = np.eye(2)[side]
    return np.eye(len(side)) - dummies @ np.linalg.pinv(dummies)


def serial(y, side):
    """Restricted maximum likelihood of rho and drift, for ln medians (configurations, runs)."""
    basis = np.linalg.svd(projection(side))[0][:, : len(side) - 2]
    z = y @ basis

    def minus_ln(at):
        sigma = basis.T @ covariance(at[0], at[1] ** 2, len(side)) @ basis
        q = (z * np.linalg.solve(sigma, z.T).T).sum(axis=1)
        return len(z) * np.linalg.slogdet(sigma)[1] / 2 + z.shape[1] / 2 * np.log(q).sum()

    found = differential_evolution(minus_ln, [(0, 0.98), (0, 30)], seed=1, tol=1e-10)
    return [float(found.x[0]), float(found.x[1] ** 2)]


def spread(side, weights, rho, drift):
    def of(correlation):
        c = np.where(side == 1, 1 / (side == 1).sum(), -1 / (side == 0).sum())
        root = np.sqrt(weights)
        r = root[:, None] * correlation * root
        m = projection(side)
        b = (m @ r @ m) / np.outer(root, root)
        df = len(side) - 2
        return c @ r @ c * df / np.trace(b), np.trace(b) ** 2 / np.trace(b @ b) / df
    (independent, _), (value, share) = of(np.eye(len(side))), of(covariance(rho, drift, len(side)))
    inflation = max(1, value / independent)
    return [float(independent * inflation), float(inflation), float(min(1, share))]


before, after = runs(BEFORE, 0, 1), runs(AFTER, 0.2, 2)
df = BEFORE + AFTER - 2
edges = np.cumsum([0] + SIZES)
own = np.zeros((2, sum(SIZES)))
common = np.zeros((2, len(SIZES)))
for s, side in enumerate((before, after)):
    deviation = side - side.mean(axis=0)
    for e, (low, high) in enumerate(zip(edges, edges[1:])):
        # the upper median of an even number: one configuration's own value
        shared = np.sort(deviation[:, low:high], axis=1)[:, (high - low) // 2]
        common[s, e] = (shared**2).sum()
        own[s, low:high] = ((deviation[:, low:high] - shared[:, None]) ** 2).sum(axis=0)
side_df = np.array([BEFORE - 1, AFTER - 1])
variance_ratio = ratio_of_variances(own / side_df[:, None], side_df)
weight = np.sqrt([1 / variance_ratio, variance_ratio])
times = weight[0] / BEFORE + weight[1] / AFTER
scaled = np.concatenate([before / np.sqrt(weight[0]), after / np.sqrt(weight[1])]).T
assert max(serial(scaled, np.repeat([0, 1], [BEFORE, AFTER]))) < 1e-3, "errors would be inflated"
own, common = (own / weight[:, None]).sum(axis=0) / df, (common / weight[:, None]).sum(axis=0) / df
s0, d0 = prior(own, df)
moderated = (d0 * s0 + df * own) / (d0 + df)
of = np.repeat(common, SIZES)
total = of + moderated
total_df = total**2 / (of**2 / df + moderated**2 / (d0 + df))
se = np.sqrt(total * times)
ratio = after.mean(axis=0) - before.mean(axis=0)
p = 2 * student.sf(abs(ratio) / se, total_df)
threshold = np.log(1.02)
equivalent = student.cdf((abs(ratio) - threshold) / se, total_df)
beyond = student.sf((abs(ratio) - threshold) / se, total_df)
half = student.ppf(0.975, total_df) * se
groups = [slice(0, 20), slice(0, 11), slice(11, 20)]


def group_p(g):
    """Student's t of the runs' means, by least squares weighted by the sides' variances."""
    means = [before[:, g].mean(axis=1), after[:, g].mean(axis=1)]
    squares = sum(((m - m.mean()) ** 2).sum() / w for m, w in zip(means, weight))
    t = (means[1].mean() - means[0].mean()) / np.sqrt(squares / df * times)
    return float(2 * student.sf(abs(t), df))


correlated = np.random.default_rng(3).normal(size=(40, 12))
for run in range(1, 12):
    correlated[:, run] = 0.6 * correlated[:, run - 1] + 0.8 * correlated[:, run]
correlated += np.outer(np.random.default_rng(4).normal(size=40), np.arange(12) / 12)
twelve = np.repeat([0, 1], 6)
mixed = np.array([0, 1, 1, 0, 0, 1, 0, 0])
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
    "p_beyond": beyond.tolist(),
    "group_p": [group_p(g) for g in groups],
    "variance_ratio": variance_ratio,
    "correlated": correlated.T.tolist(),
    "serial": serial(correlated, twelve),
    "spreads": [spread(twelve, np.ones(12), 0.5, 0.0), spread(twelve, np.ones(12), 0.3, 4.0),
                spread(mixed, np.where(mixed == 1, 3.0, 1 / 3.0), 0.6, 1.0)],
    "trigamma": [[x, float(polygamma(1, x))] for x in (0.01, 0.3, 1.0, 2.5, 9.9, 40.0, 1e4)],
    "many_p": many.tolist(),
    "adjusted": false_discovery_control(many, method="bh").tolist(),
}))
