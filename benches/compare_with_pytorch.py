#!/usr/bin/env python3
"""Times this project's CPU backend against PyTorch, on the same machine and in the same minutes.

    pip install torch numpy
    python3 benches/compare_with_pytorch.py [--threads 1 2] [--algorithm auto] [--only REGEX]

For each shape the two take turns, so that a machine that slows down slows both; what is compared is
the median launch over all turns. PyTorch computes conv2d(padding="same") in float32 under
inference_mode, without bias, weights in its own plain layout: what the backend does too.
"""

import argparse
import json
import pathlib
import platform
import re
import subprocess
import time
import warnings

import numpy
import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
TURNS = 5
SECONDS_A_TURN = 0.03
# OpenMP's threads keep spinning for a while after PyTorch is done with them
PAUSE = 0.005

# (height, width, in_channels, out_channels, kernel): ends, middles and odd values of every
# experiment's series
SHAPES = {
    "A": [(1, 2, 100, 50, 1), (1, 2, 1600, 800, 1), (1, 2, 25600, 12800, 1), (2, 2, 800, 800, 1),
          (2, 2, 12800, 12800, 1), (4, 4, 400, 400, 1), (4, 4, 6400, 6400, 1)],
    "B": [(300, 300, 50, 50, 1), (150, 150, 100, 100, 2), (100, 100, 150, 150, 3),
          (50, 50, 70, 70, 6), (30, 30, 100, 100, 10), (18, 18, 50, 50, 17),
          (10, 10, 150, 150, 30)],
    "C": [(10, 10, 4500, 4500, 1), (10, 10, 1050, 1050, 2), (10, 10, 500, 500, 3),
          (10, 10, 429, 429, 7), (10, 10, 200, 200, 15), (10, 10, 50, 50, 30)],
    "D": [(100, 1, 50, 100, 3), (100, 64, 100, 100, 3), (100, 333, 50, 100, 3),
          (100, 640, 150, 100, 3)],
    "E": [(100, 100, 50, 1, 3), (100, 100, 50, 101, 3), (100, 100, 100, 320, 3),
          (100, 100, 150, 649, 3)],
    "F": [(100, 100, 50, 20, 1), (200, 100, 50, 257, 1), (300, 100, 50, 640, 1)],
    "G": [(10, 10, 100, 1000, 1), (10, 10, 999, 1000, 1), (10, 10, 300, 1000, 3),
          (10, 10, 100, 1000, 5), (10, 10, 900, 1000, 5)],
}


class Pytorch:
    """PyTorch with one convolution's tensors."""

    def __init__(self, shape, threads):
        height, width, in_channels, out_channels, kernel = shape
        torch.set_num_threads(threads)
        self.x = torch.rand(1, in_channels, height, width) * 2 - 1
        self.w = torch.rand(out_channels, in_channels, kernel, kernel) * 2 - 1

    def launch(self):
        torch.nn.functional.conv2d(self.x, self.w, padding="same")

    def nanoseconds(self, launches):
        """Each of so many launches, after one that is not counted."""
        self.launch()
        times = []
        for _ in range(launches):
            start = time.perf_counter_ns()
            self.launch()
            times.append(time.perf_counter_ns() - start)
        return times


class Ours:
    """The program that runs the CPU backend, with one convolution's tensors."""

    def __init__(self, program, shape, threads, algorithm):
        self.program = program
        self.algorithm = self.ask(f"{shape_id(shape)} {threads} {algorithm}")["algorithm"]

    def ask(self, line):
        self.program.stdin.write(line + "\n")
        self.program.stdin.flush()
        answer = self.program.stdout.readline()
        if not answer:
            raise SystemExit(f"time_convolutions stopped at `{line}`")
        return json.loads(answer)

    def nanoseconds(self, launches):
        return self.ask(str(launches))["nanoseconds"]


def shape_id(shape):
    return "h={}_w={}_in={}_out={}_k={}".format(*shape)


def compare(program, shape, threads, algorithm):
    """Median nanoseconds of PyTorch and of ours, and the algorithm that ours chose."""
    ours = Ours(program, shape, threads, algorithm)
    contestants = [Pytorch(shape, threads), ours]
    launches, times = [], [[], []]
    for contestant in contestants:
        typical = min(contestant.nanoseconds(2)) / 1e9
        launches.append(max(3, min(500, round(SECONDS_A_TURN / typical))))
    for _ in range(TURNS):
        for contestant, count, collected in zip(contestants, launches, times):
            time.sleep(PAUSE)
            collected += contestant.nanoseconds(count)
    return [numpy.median(collected) for collected in times] + [ours.algorithm]


def cpu_name():
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    found = re.search(r"model name\s*:\s*(.*)", text)
    return found.group(1) if found else platform.processor() or platform.machine()


def start_program():
    build = ["cargo", "build", "--release", "--quiet", "--example", "time_convolutions"]
    subprocess.run(build, cwd=ROOT, check=True)
    metadata = ["cargo", "metadata", "--format-version=1", "--no-deps"]
    target = json.loads(subprocess.check_output(metadata, cwd=ROOT))["target_directory"]
    path = pathlib.Path(target) / "release" / "examples" / "time_convolutions"
    return subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def geometric_mean(values):
    return numpy.exp(numpy.mean(numpy.log(values)))


def print_summary(ratios):
    """Of {experiment: ratios}: how each experiment fares, and all of them."""
    for experiment, values in ratios.items():
        print(f"{experiment}: geometric mean {geometric_mean(values):.2f}, worst {min(values):.2f}")
    values = [ratio for ratios_of_one in ratios.values() for ratio in ratios_of_one]
    if values:
        print(f"all {len(values)} shapes: geometric mean {geometric_mean(values):.2f}, "
              f"worst {min(values):.2f}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--algorithm", default="auto")
    parser.add_argument("--only", default="", help="shapes like `A h=1_w=2_…` that match")
    return parser.parse_args()


def main():
    options = arguments()
    warnings.filterwarnings("ignore", message=".*padding='same' with even kernel lengths.*")
    program = start_program()
    print(f"PyTorch {torch.__version__} on {cpu_name()}")
    for threads in options.threads:
        print(f"\n{threads} thread(s)")
        print(f"  {'shape':42}{'PyTorch ms':>11}{'ours ms':>11}"
              f"{'ratio':>8}{'GFLOP/s':>9}  algorithm")
        ratios = {}
        for experiment, shape in ((e, s) for e in SHAPES for s in SHAPES[e]):
            if not re.search(options.only, f"{experiment} {shape_id(shape)}"):
                continue
            with torch.inference_mode():
                pytorch, ours, algorithm = compare(program, shape, threads, options.algorithm)
            height, width, in_channels, out_channels, kernel = shape
            flops = 2 * height * width * in_channels * out_channels * kernel**2
            ratio = pytorch / ours
            ratios.setdefault(experiment, []).append(ratio)
            print(f"{experiment} {shape_id(shape):42}{pytorch / 1e6:11.4f}{ours / 1e6:11.4f}"
                  f"{ratio:8.2f}{flops / ours:9.1f}  {algorithm}", flush=True)
        print_summary(ratios)


if __name__ == "__main__":
    main()
