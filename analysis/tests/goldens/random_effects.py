"""Random effects by statsmodels and SciPy, for src/objectives/random_effects/tests.rs.

    pip install statsmodels; python3 random_effects.py > random_effects.json

Q, its p value and the estimate of Paule and Mandel are statsmodels' `combine_effects`, the test of means
whose variances are estimates is its `anova_generic` (Welch), and slopes with their errors are its weighted
least squares. It has no interval of the variance: the Q-profile is by SciPy's chi-squared and F
distributions and brentq, each end where the tail of Q is 2.5%.
"""

import json

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from statsmodels.regression.linear_model import WLS
from statsmodels.stats.meta_analysis import combine_effects
from statsmodels.stats.oneway import anova_generic


def q_and_uncertainty(y, v, df, tau2):
    w = 1 / (v + tau2)
    q = np.sum(w * (y - np.sum(w * y) / np.sum(w)) ** 2)
    return q, np.sum((1 - w / w.sum()) ** 2 * (v / (v + tau2)) ** 2 / df)


def tail(y, v, df, tau2):
    """P(a Q at least as large)."""
    q, uncertainty = q_and_uncertainty(y, v, df, tau2)
    k = len(y)
    if uncertainty == 0:
        return stats.chi2.sf(q, k - 1)
    f = q / (k - 1) / (1 + 2 * (k - 2) / (k * k - 1) * uncertainty)
    return stats.f.sf(f, k - 1, (k * k - 1) / (3 * uncertainty))


def end(y, v, df, level):
    """The variance at which the tail is `level`; 0 where it is at 0 already."""
    if tail(y, v, df, 0) >= level:
        return 0.0
    return brentq(lambda tau2: tail(y, v, df, tau2) - level, 0, 1e4 * np.var(y), xtol=1e-16)


def means(y, v, passes):
    """Values whose variances are known (`passes` None), or of so many passes each."""
    y, v = np.array(y), np.array(v)
    k, exact = len(y), passes is None
    df = np.full(k, np.inf) if exact else np.array(passes) - 1.0
    q, uncertainty = q_and_uncertainty(y, v, df, 0)
    if exact:
        tau2 = max(combine_effects(y, v, method_re="iterated", atol=1e-14, maxiter=1000).tau2, 0.0)
        fixed = combine_effects(y, v)
        np.testing.assert_allclose(q, fixed.q, rtol=1e-9)
        p = fixed.test_homogeneity().pvalue
    else:
        welch = anova_generic(y, v * passes, np.array(passes), use_var="unequal",
                              welch_correction=True)
        p = welch.pvalue
        np.testing.assert_allclose(p, tail(y, v, df, 0), rtol=1e-10)

        def excess(tau2):
            q, uncertainty = q_and_uncertainty(y, v, df, tau2)
            return q - (k - 1) - 2 * uncertainty
        tau2 = brentq(excess, 0, 1e4 * np.var(y), xtol=1e-16) if excess(0) > 0 else 0.0
    low = end(y, v, df, 0.025)
    is_too_alike = tail(y, v, df, 0) >= 0.975
    high = end(y, v * 1e-30, df * np.inf, 0.975) if is_too_alike else end(y, v, df, 0.975)
    w = 1 / (v + tau2)
    shrunk = (y - np.sum(w * y) / np.sum(w)) * tau2 / (tau2 + v)
    return dict(y=y.tolist(), v=v.tolist(), df=None if exact else df.tolist(), q=q, p=float(p),
                variance=float(tau2), interval=[low, high],
                extremes=[float(min(shrunk.min(), 0)), float(max(shrunk.max(), 0))])


def lines(groups):
    """One slope, and a mean for each group of (x, y, v)."""
    rows = [(g, x, y, v) for g, group in enumerate(groups) for x, y, v in group]
    g, x, y, v = (np.array(column) for column in zip(*rows))
    design = np.column_stack([x] + [(g == i).astype(float) for i in range(len(groups))])
    m = len(y) - design.shape[1]

    def fit(tau2):
        return WLS(y, design, weights=1 / (v + tau2)).fit()
    # `scale` is Q/m
    tau2 = brentq(lambda tau2: fit(tau2).scale - 1, 0, 1e4 * np.var(y), xtol=1e-16) \
        if fit(0).scale > 1 else 0.0
    at = fit(tau2)
    error = at.bse[0] * np.sqrt(max(at.scale, 1) / at.scale)
    return dict(groups=[[list(point) for point in group] for group in groups],
                slope=at.params[0], error=float(error), variance=float(tau2))


def main():
    rng = np.random.default_rng(5)

    def effects(k, tau, sds):
        v = np.array(sds[:k]) ** 2
        return rng.normal(0, tau, k) + rng.normal(0, 1, k) * np.sqrt(v) - 20, v

    sds = rng.uniform(0.01, 0.08, 30)
    y, v = effects(12, 0.2, sds)
    passes = rng.integers(3, 9, 12)
    few_y, few_v = effects(3, 0.3, sds)
    none_y, none_v = effects(30, 0.0, sds)
    of_means = [
        means(y, v, None),
        means(few_y, few_v, None),
        means(none_y, none_v, None),
        # noise ten times overestimated
        means(none_y, 100 * none_v, None),
        means(y, v, passes),
        means(few_y, few_v, [5, 5, 4]),
        means(none_y, none_v, np.full(30, 5)),
    ]

    def points(n, tau, slope):
        x = np.log(np.arange(1, n + 1))
        y, v = effects(n, tau, sds)
        return list(zip(x.tolist(), (y + slope * x).tolist(), v.tolist()))
    of_lines = [
        lines([points(20, 0.1, 0.3)]),
        lines([points(8, 0.0, -0.2)]),
        lines([points(3, 0.2, 1.0) for _ in range(5)]),
    ]
    print(json.dumps(dict(means=of_means, lines=of_lines), indent=1))


main()
