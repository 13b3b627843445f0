"""Asymptotic and profile intervals by SciPy, for src/fit/intervals/tests.rs.

Run: python3 intervals.py > intervals.json   (after fit.py: it takes rows of fit.json)

Needs NumPy and SciPy. Asymptotic: scipy.optimize.curve_fit's standard errors times t. Profile: where
the least residual sum over the other parameters, by refits of curve_fit with the parameter held,
crosses S (1 + t² / (n - p)), by brentq; no end may be at a bound.
"""

import json
import pathlib

import numpy as np
from scipy.optimize import brentq, curve_fit
from scipy.stats import t as student

START = (0.01, 0.8, 0.03)
CASES = [("noisy", "absolute"), ("suite", "absolute"), ("suite, side", "absolute"), ("suite, side", "log")]
TIGHT = {"ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15, "x_scale": "jac", "max_nfev": 5000}


def problem(rows, term, objective):
    h, w, i, o, k, ms = rows.T
    ratio = (np.log(k * k if term == "area" else k) + 1) / (h * w)
    flops = h * w * k * k * i * o / 1e6
    transform = np.log if objective == "log" else lambda value: value

    def model(_, beta, gamma, final):
        return transform(final * (ratio + beta * (1 - ratio)) ** gamma * flops)

    return model, transform(ms)


def fit_held(model, y, best, index, value):
    """Least residual sum with one parameter held, searched from the estimate."""
    others = [j for j in range(3) if j != index]

    def held(x, *free):
        return model(x, *np.insert(np.array(free), index, value))

    start = [best[j] for j in others]
    found, _ = curve_fit(held, None, y, p0=start, bounds=(1e-12, 2), **TIGHT)
    return float(np.sum((held(None, *found) - y) ** 2))


def profile_end(model, y, best, index, step, threshold):
    excess = lambda value: fit_held(model, y, best, index, value) - threshold
    inside, outside = best[index], best[index] + step
    while excess(outside) < 0:
        inside, outside = outside, outside + step
        assert 1e-12 < outside < 2, "an end at a bound"
    return brentq(excess, inside, outside, xtol=1e-7 * abs(step), rtol=1e-13)


def intervals(rows, term, objective):
    model, y = problem(rows, term, objective)
    best, covariance = curve_fit(model, None, y, p0=START, bounds=(0, 2), **TIGHT)
    freedom = len(y) - 3
    t = student.ppf(0.975, freedom)
    least = float(np.sum((model(None, *best) - y) ** 2))
    half = t * np.sqrt(np.diag(covariance))
    threshold = least * (1 + t * t / freedom)
    # short steps, so that none lands outside the bounds
    ends = [[profile_end(model, y, best, j, sign * half[j] / 4, threshold) for sign in (-1, 1)] for j in range(3)]
    return {
        "asymptotic": [[b - d, b + d] for b, d in zip(best, half)],
        "profile": ends,
    }


def main():
    here = pathlib.Path(__file__).parent
    goldens = {g["name"]: g for g in json.loads((here / "fit.json").read_text())}
    cases = []
    for name, objective in CASES:
        rows = np.array(goldens[name]["rows"])
        above = rows[rows[:, 4] > 1]
        found = intervals(above, goldens[name]["s_k"], objective)
        cases.append({"name": name, "objective": objective, **found})
    print(json.dumps(cases, indent=1))


main()
