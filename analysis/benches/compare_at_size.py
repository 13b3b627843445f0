"""Times `alpha-flops compare` on full runs: 9,105 configurations of 2,000 launches, by both clocks.

Run: cargo build --release -p alpha-flops-analysis --bin alpha-flops --example simulated_runs
     python3 analysis/benches/compare_at_size.py [--target target] [--runs 1 5] [--launches 2000]

Needs Python alone, and 0.4 GB of disk a run. Simulates runs, the later side with known slowdowns, and
compares them, tables and figures included: one a side, then five. Prints wall time and peak memory of each
comparison beside what they may be, and the time that reading the launches alone takes. Exit status 1 where
one is missed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# runs a side: seconds and bytes that a comparison may take
TARGETS = {1: (15, 1e9), 5: (60, 1e9)}
SLOWER = ["D/=1.01", "G/h=10_w=10_in=99=1.03", "F/h=300=0.98"]


def measured(command):
    """Exit status, seconds and peak memory in bytes of a command, and what it printed."""
    with tempfile.TemporaryFile("w+") as out:
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        # of this child alone, which resource.getrusage does not tell from others
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - start
        out.seek(0)
        return process.returncode, seconds, usage.ru_maxrss * 1024, out.read()


def run(command, expected):
    status, seconds, memory, text = measured([str(part) for part in command])
    if status not in expected:
        sys.exit(f"{' '.join(map(str, command))}\nexit status {status}\n{text}")
    return seconds, memory, text


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--target", type=Path, default=Path("target"), help="cargo's target directory")
    parser.add_argument("--runs", type=int, nargs="+", default=[1, 5], help="runs on each side")
    parser.add_argument("--launches", type=int, default=2000, help="of each configuration")
    arguments = parser.parse_args()
    simulated_runs = arguments.target / "release/examples/simulated_runs"
    alpha_flops = arguments.target / "release/alpha-flops"

    missed = False
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        most = max(arguments.runs)
        slower = [part for effect in SLOWER for part in ("--slower", effect)]
        numbers = ["--runs", most, "--launches", arguments.launches]
        seconds, memory, _ = run([simulated_runs, "write", folder, *numbers, *slower], {0})
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        print(f"{2 * most} runs written: {seconds:.1f} s, {size / 1e9:.2f} GB of files")
        for runs in arguments.runs:
            sides = {
                side: [folder / f"{side}-{number}" for number in range(1, runs + 1)]
                for side in ("before", "after")
            }
            both = sides["before"] + sides["after"]
            seconds, memory, _ = run([simulated_runs, "read", *both], {0})
            print(f"{runs} a side read: {seconds:.1f} s, {memory / 1e6:.0f} MB")
            out = folder / f"compared-{runs}"
            # 1: something is slower
            command = [alpha_flops, "compare", "--out", out, *sides["before"]]
            command += ["--after", *sides["after"]]
            seconds, memory, _ = run(command, {0, 1})
            may_s, may_bytes = TARGETS.get(runs, (float("inf"), float("inf")))
            missed |= seconds > may_s or memory > may_bytes
            print(
                f"{runs} a side compared: {seconds:.1f} s (at most {may_s}), "
                f"{memory / 1e6:.0f} MB (at most {may_bytes / 1e6:.0f})"
            )
    sys.exit(missed)


if __name__ == "__main__":
    main()
