"""Latencies by the published Python formula of each study, for src/model.rs.

Run: python3 model.py > model.json
"""

import json
import math


def original(h, w, c_in, c_out, k):
    """Quadro T2000: S_K by the kernel's area, FLOPs in millions of multiply-adds."""
    flops = h * w * k * k * c_in * c_out / 10**6
    beta, gamma, final = (0.02, 0.99, 0.0375) if k == 1 else (0.001, 0.56, 0.0375)
    s, s_k = h * w, math.log(k * k) + 1
    return final * ((s_k + beta * (s - s_k)) / s) ** gamma * flops


def replication(h, w, c_in, c_out, k):
    """RTX 4090: S_K by the kernel's side."""
    flops = h * w * k * k * c_in * c_out / 10**6
    if k == 1:
        beta, gamma, final = 0.00972514, 1.1779239, 0.00549217
    else:
        beta, gamma, final = 0.00785036, 1.0601711, 0.00401956
    s, s_k = h * w, math.log(k) + 1
    return final * ((s_k + beta * (s - s_k)) / s) ** gamma * flops


SHAPES = [
    (1, 1, 12800, 12800, 1),
    (1, 2, 100, 50, 1),
    (4, 4, 6400, 6400, 1),
    (300, 300, 50, 50, 1),
    (150, 150, 150, 150, 2),
    (100, 640, 150, 100, 3),
    (100, 100, 50, 649, 3),
    (10, 10, 999, 1000, 5),
    (10, 10, 50, 50, 30),
    (1, 1, 10, 10, 3),  # S < S_K
    (2, 1, 10, 10, 30),
    (1000, 2000, 1, 1, 7),
]

print(
    json.dumps(
        [
            {"coefficients": name, "shape": shape, "latency_ms": formula(*shape)}
            for name, formula in (("published-t2000", original), ("published-rtx4090", replication))
            for shape in SHAPES
        ],
        indent=1,
    )
)
