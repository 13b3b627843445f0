#!/usr/bin/env python3
"""PyTorch's convolutions beside this project's, of the same shapes and in the same minutes.

    python3 torch_side_by_side.py --program alpha-flops --work FOLDER --out FILE.csv

Both are timed between CUDA events with the stream kept busy until the launch is queued, so that neither waits
for the host. PyTorch computes conv2d in TF32 without bias on an image that is padded already (`operation`), and
with padding="same" and a bias, as the replication's code does (`framework`): for even kernels that pads by a
copy. Ours are measured likewise, by ALPHA_FLOPS_CONVOLUTION. The last two lines are PyTorch's time over ours: median
and quartiles over the shapes.
"""

import argparse
import csv
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

# about the ends and middles of every experiment, and the steps of D and E
IDS = """
A/h=1_w=2_in=100_out=50_k=1 A/h=1_w=2_in=6400_out=3200_k=1 A/h=2_w=2_in=400_out=400_k=1
A/h=4_w=4_in=25_out=25_k=1 A/h=4_w=4_in=3200_out=3200_k=1
B/h=100_w=100_in=50_out=50_k=3 B/h=100_w=100_in=150_out=150_k=3 B/h=19_w=19_in=70_out=70_k=16
B/h=30_w=30_in=100_out=100_k=10 B/h=10_w=10_in=150_out=150_k=30
C/h=10_w=10_in=4500_out=4500_k=1 C/h=10_w=10_in=750_out=750_k=6 C/h=10_w=10_in=70_out=70_k=30
D/h=100_w=10_in=50_out=100_k=3 D/h=100_w=163_in=100_out=100_k=3 D/h=100_w=164_in=100_out=100_k=3
D/h=100_w=480_in=150_out=100_k=3 E/h=100_w=100_in=100_out=100_k=3 E/h=100_w=100_in=100_out=101_k=3
E/h=100_w=100_in=100_out=192_k=3 E/h=100_w=100_in=150_out=640_k=3
F/h=100_w=100_in=50_out=20_k=1 F/h=300_w=100_in=50_out=600_k=1
G/h=10_w=10_in=400_out=1000_k=3 G/h=10_w=10_in=415_out=1000_k=5 G/h=10_w=10_in=1000_out=1000_k=1
""".split()
LAUNCHES = 200


def numbers(configuration):
    return [int(number) for number in re.findall(r"=(\d+)", configuration)]


def queued_us(torch, launch):
    """The median time of a launch between events, queued while the stream is kept busy."""
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    times = []
    for _ in range(20):
        launch()
    for _ in range(LAUNCHES):
        torch.cuda.synchronize()
        torch.cuda._sleep(300_000)
        before.record()
        launch()
        after.record()
        torch.cuda.synchronize()
        times.append(before.elapsed_time(after) * 1e3)
    return statistics.median(times)


def by_pytorch(ids):
    """Times in microseconds by id, of the operation alone and as frameworks run it."""
    import torch
    from torch.nn import functional

    if not torch.cuda.is_available():
        sys.exit("PyTorch sees no CUDA device")
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = False
    print("PyTorch", torch.__version__, "cuDNN", torch.backends.cudnn.version(),
          torch.cuda.get_device_name(0), flush=True)
    times = {}
    with torch.inference_mode(), torch.cuda.stream(torch.cuda.Stream()):
        for configuration in ids:
            height, width, in_channels, out_channels, kernel = numbers(configuration)
            random = lambda *shape: torch.rand(*shape, device="cuda") * 2 - 1
            x = random(1, in_channels, height, width)
            weights, bias = random(out_channels, in_channels, kernel, kernel), random(out_channels)
            before, more = (kernel - 1) // 2, (kernel - 1) % 2
            padded = functional.pad(x, (0, more, 0, more)) if more else x
            times[configuration] = (
                queued_us(torch, lambda: functional.conv2d(padded, weights, padding=before)),
                queued_us(torch, lambda: functional.conv2d(x, weights, bias, padding="same")),
            )
    return times


def by_alpha_flops(program, work, ids, convolution):
    """Median latencies in microseconds by id."""
    work = work / convolution
    work.mkdir(parents=True, exist_ok=True)
    expression = "^(" + "|".join(re.escape(one) for one in ids) + ")$"
    env = {**os.environ, "ALPHA_FLOPS_RUNS": str(work), "ALPHA_FLOPS_RESOLUTION": "full",
           "ALPHA_FLOPS_TIME_BUDGET": "60s", "ALPHA_FLOPS_CONVOLUTION": convolution}
    subprocess.run([program, "bench", expression], env=env, check=True)
    run = max(work.glob("*/run.json"), key=lambda path: path.stat().st_mtime).parent
    dataset = work / "dataset.csv"
    subprocess.run([program, "import", "criterion", run, "--out", dataset], env=env, check=True)
    with dataset.open(encoding="utf-8", newline="") as file:
        return {f"{row['experiment']}/{row['id']}": float(row["median_ns"]) / 1e3
                for row in csv.DictReader(file) if row["median_ns"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    plain, framework = (by_alpha_flops(arguments.program, arguments.work, IDS, convolution)
                        for convolution in ["plain", "framework"])
    theirs = by_pytorch([one for one in IDS if one in plain and one in framework])
    with arguments.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "alpha_flops_plain_us", "pytorch_operation_us", "alpha_flops_framework_us",
                         "pytorch_framework_us"])
        writer.writerows([one, plain[one], operation, framework[one], layer]
                         for one, (operation, layer) in theirs.items())
    for what, index, ours in [("the operation", 0, plain), ("a layer", 1, framework)]:
        ratios = [times[index] / ours[one] for one, times in theirs.items()]
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"PyTorch's time over ours, {what}, of {len(ratios)} shapes: median {middle:.3f}, "
              f"quartiles {low:.3f} to {high:.3f}")


main()
