"""Ranks of the 95% order-statistic interval for a median, by SciPy's binomial distribution.

A line gives a lower rank l (from 0) and the least n for which P(B <= l) <= 2.5%, where B is
binomial in n draws with probability 1/2; up to n = 2000.

python3 tests/goldens/median_ranks.py > tests/goldens/median_ranks.csv
"""

from scipy.stats import binom

print("low,smallest_n")
low = -1
for n in range(1, 2001):
    while binom.cdf(low + 1, n, 0.5) <= 0.025:
        low += 1
        print(f"{low},{n}")
