#!/usr/bin/env python3
"""How far a run on a disturbed machine is from one on a quiet machine.

Measures A-G (`alpha-flops replicate`) on the machine as it is, then once more beside a competitor that
occupies every core for 10 s of every 20, and compares: the share of configurations whose median latency
is within 5% of the quiet run's (target: at least 95%), and the answers to RO1-RO3. An answer contradicts
the quiet run's if one says that the claim does not hold and the other that it holds or partly holds, or
if what one shows of an experiment or line is refuted by the other. "Not shown" contradicts nothing.

    cargo build --release -p alpha-flops-analysis
    python3 benches/disturbed.py                     both runs, about 12 minutes
    python3 benches/disturbed.py --quiet RUN         with a quiet run measured before: the folder of a
                                                     run, or a dataset (RO3 is then judged by a fit to A-G)
    python3 benches/disturbed.py --quiet RUN --disturbed RUN      measures nothing
    ALPHA_FLOPS_PROFILE=smoke python3 benches/disturbed.py --busy 1 --period 2 -- --no-sweep '^A/'

The last is for trying it out: what follows -- are arguments of `alpha-flops replicate`.
ALPHA_FLOPS_... variables have their usual effect, on both runs alike. Interrupted, the same command
resumes an unfinished run, and --quiet takes a finished one. The exit status is 0 if both targets are
met, 1 if one is not, and 2 if there is nothing to compare.
"""

import argparse
import csv
import json
import math
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
# what the medians of two runs may differ by, and for how many configurations they have to
CLOSE, SHARE = 0.05, 0.95
QUESTIONS = ["ro1", "ro2", "ro3"]
# of latencies per multiply-add, as in analysis/src/objectives.rs
EQUAL_LATENCY_RATIO = 1.1
NO_ANSWERS = {"not_shown", "cannot_be_answered"}


def fail(message):
    sys.stderr.write(f"error: {message}\n")
    sys.exit(2)


def occupy(core, busy, period, parent, computed):
    """Computes on one core for `busy` of every `period` seconds, all cores at the same time."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    while os.getppid() == parent:
        phase = time.monotonic() % period
        if phase < busy:
            until = time.monotonic() + 0.01
            while time.monotonic() < until:
                pass
        else:
            # waking up often would disturb what is to be quiet
            time.sleep(min(period - phase, 1))
        computed.value = time.process_time()


class Competitor:
    """One process a core; each ends with this one."""

    def __init__(self, busy, period):
        can_pin = hasattr(os, "sched_getaffinity")
        cores = sorted(os.sched_getaffinity(0)) if can_pin else [None] * os.cpu_count()
        self.computed = [multiprocessing.Value("d", 0.0) for _ in cores]
        self.processes = [
            multiprocessing.Process(target=occupy, daemon=True,
                                    args=(core, busy, period, os.getpid(), computed))
            for core, computed in zip(cores, self.computed)
        ]

    def __enter__(self):
        self.began = time.monotonic()
        for process in self.processes:
            process.start()
        return self

    def __exit__(self, *_):
        took = time.monotonic() - self.began
        alive = sum(process.is_alive() for process in self.processes)
        for process in self.processes:
            process.terminate()
            process.join()
        each = statistics.mean(computed.value for computed in self.computed)
        print(f"competitor: {alive} processes, computed for {each:.1f} of {took:.1f} s each")
        if alive < len(self.processes):
            fail("a process of the competitor has ended: what was measured was not disturbed")


def measure(binary, folder, arguments):
    """Measures a sweep and A-G, and returns the folder of the run."""
    folder.mkdir(parents=True, exist_ok=True)
    env = {"ALPHA_FLOPS_BACKEND": "cpu", **os.environ, "ALPHA_FLOPS_RUNS": str(folder)}
    log = folder / "log.txt"
    print(f"measuring in {folder} (progress: tail -f {log})", flush=True)
    began = time.time()
    with log.open("w", encoding="utf-8") as out:
        result = subprocess.run([binary, "replicate", *arguments], env=env, stdin=subprocess.DEVNULL,
                                stdout=out, stderr=subprocess.STDOUT, check=False)
    # a status other than 0 may be that of single configurations; what matters is that there is a run
    finished = [path for path in folder.glob("*/run.json") if path.stat().st_mtime > began
                and json.loads(path.read_text(encoding="utf-8"))["status"] == "finished"]
    if not finished:
        fail(f"`{binary} replicate` ended with status {result.returncode} and no run; see {log}")
    print(f"measured in {time.time() - began:.0f} s, status {result.returncode}", flush=True)
    return max(finished, key=lambda path: path.stat().st_mtime).parent


def print_of(command):
    result = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if result.returncode != 0:
        fail(f"`{' '.join(map(str, command))}` ended with status {result.returncode}:\n{result.stderr}")
    return result.stdout


def medians(binary, run, work):
    """Median latencies in ns by configuration."""
    dataset = run
    if run.is_dir():
        dataset = work / "dataset.csv"
        print_of([binary, "import", "criterion", run, "--out", dataset])
    with dataset.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {f"{row['experiment']}/{row['id']}": float(row["median_ns"])
            for row in rows if row["median_ns"]}


def answers(binary, run, fitted_to_sweep, work):
    """The answers to RO1-RO3, with coefficients fitted to the run's sweep or to the run itself."""
    sweep = ["--fit-to", run / "sweep"] if fitted_to_sweep else []
    printed = print_of([binary, "report", run, *sweep, "--out", work / "report", "--format", "json"])
    return json.loads(printed)["targets"][0]["objectives"]


def quietness(run):
    """How quiet the machine was, as the record says."""
    record = run / "run.json"
    quiet = record.is_file() and json.loads(record.read_text(encoding="utf-8")).get("quiet")
    if not quiet:
        return "not recorded"
    steal = quiet.get("steal_percent")
    return (f"{quiet['switched_out_percent']:.1f}% of launches switched out, "
            f"steal {'unknown' if steal is None else f'{steal:.1f}%'}, "
            f"{quiet['never_quiet']} of {quiet['configurations']} configurations never quiet")


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def compare_medians(quiet, disturbed):
    """Prints how far medians are apart; whether enough of them are close."""
    away = {name: abs(disturbed[name] / median - 1) if name in disturbed else float("inf")
            for name, median in quiet.items()}
    if not away:
        fail("the quiet run has no configuration with a latency")
    print(f"\n{'medians':<12}{'number':>8}{'within 5%':>11}{'median off':>12}{'95% off':>10}{'most':>10}")
    for experiment in [*sorted({name[0] for name in away}), "all"]:
        those = [off for name, off in away.items() if experiment in ("all", name[0])]
        close = sum(off <= CLOSE for off in those) / len(those)
        print(f"{experiment:<12}{len(those):>8}{close:>11.1%}{statistics.median(those):>12.1%}"
              f"{percentile(those, 0.95):>10.1%}{max(those):>10.1%}")
    worst = sorted(away, key=away.get, reverse=True)[:10]
    print("farthest off:")
    for name in worst:
        after = disturbed.get(name)
        shown = "not measured" if after is None else f"{after / 1e6:.4g} ms"
        print(f"  {name:<38} {quiet[name] / 1e6:>10.4g} ms quiet, {shown} disturbed")
    share = sum(off <= CLOSE for off in away.values()) / len(away)
    # 95% means 95%, not what rounds to it
    met = share >= SHARE
    print(f"medians within {CLOSE:.0%} of the quiet run's: {share:.1%} of {len(away)} configurations "
          f"(target {SHARE:.0%}): {'met' if met else 'MISSED'}")
    return met


def shown(low, high, limit):
    """What an interval says of being above a limit: 1 shown, -1 refuted, 0 neither."""
    low, high = (-math.inf if low is None else low), (math.inf if high is None else high)
    return 1 if low > limit else -1 if high < limit else 0


def places(question, answer):
    """What the answer says of each place where its criterion looks: 1 holds, -1 does not, 0 not shown."""
    numbers = answer["numbers"]
    if question == "ro1" and all("nominal" in group for group in numbers):
        by_experiment = {}
        for group in numbers:
            by_experiment.setdefault(group["experiment"], []).append(group["nominal"])
        ends = {name: [statistics.median(math.inf if one[end] is None else one[end] for one in those)
                       for end in ("low", "high")] for name, those in by_experiment.items()}
        return {name: shown(*both, EQUAL_LATENCY_RATIO) for name, both in ends.items()}
    if question == "ro2":
        deciding = re.findall(r"\b[A-Z]\b", answer["criterion"].split("FLOPs move")[0])
        return {f"{line['experiment']} {line['series']}": shown(line["low"], line["high"], 0)
                for line in numbers if line["experiment"] in deciding}
    if question == "ro3" and all("advantage" in row and "accuracy" in row for row in numbers):
        said = {"better": 1, "worse": -1, "accurate": 1, "not_accurate": -1}
        return {f"{row['experiment']} {of}": said.get(row[of], 0)
                for row in numbers for of in ("advantage", "accuracy")}
    return {}


def contradictions(question, quiet, disturbed):
    """Where one answer says the opposite of the other."""
    verdicts = {quiet["verdict"], disturbed["verdict"]}
    if verdicts & NO_ANSWERS:
        return []
    before, after = places(question, quiet), places(question, disturbed)
    found = [name for name in before if before[name] * after.get(name, 0) < 0]
    # "partly holds" is also said where the other places are not shown
    if "does_not_hold" in verdicts and len(verdicts) > 1:
        found.insert(0, "verdict")
    return found


def compare_answers(quiet, disturbed):
    """Prints the answers of both runs; whether no verdict contradicts the quiet run's."""
    print("\nverdicts")
    wrong = 0
    for question in QUESTIONS:
        one, other = quiet[question], disturbed[question]
        found = contradictions(question, one, other)
        wrong += bool(found)
        print(f"{question.upper()}: {one['verdict']} quiet, {other['verdict']} disturbed"
              f"{': CONTRADICTS: ' + ', '.join(found) if found else ''}")
        for name, answer in [("quiet", one), ("disturbed", other)]:
            print(f"  {name}: {answer['sentence']}")
    print(f"answers that contradict the quiet run's: {wrong} of {len(QUESTIONS)} (target 0): "
          f"{'MISSED' if wrong else 'met'}")
    return wrong == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arguments", nargs="*", help="of `alpha-flops replicate`, after --")
    parser.add_argument("--binary", type=Path, default=TARGET / "release" / "alpha-flops",
                        help="the program [default: target/release/alpha-flops]")
    parser.add_argument("--quiet", type=Path, metavar="RUN",
                        help="take this run as the quiet one instead of measuring it")
    parser.add_argument("--disturbed", type=Path, metavar="RUN",
                        help="take this run as the disturbed one; needs --quiet")
    parser.add_argument("--out", type=Path, default=TARGET / "disturbed", metavar="DIR",
                        help="where runs are kept [default: target/disturbed]")
    parser.add_argument("--busy", type=float, default=10, metavar="SECONDS",
                        help="how long the competitor computes in every period [default: 10]")
    parser.add_argument("--period", type=float, default=20, metavar="SECONDS",
                        help="the competitor's period [default: 20]")
    arguments = parser.parse_args()
    if arguments.disturbed and not arguments.quiet:
        parser.error("--disturbed needs --quiet")
    if not 0 < arguments.busy <= arguments.period < float("inf"):
        parser.error("expected 0 < --busy <= --period")
    binary = arguments.binary.resolve()
    if not binary.is_file():
        fail(f"{binary}: not there; run `cargo build --release -p alpha-flops-analysis`")
    for run in [arguments.quiet, arguments.disturbed]:
        if run and not run.exists():
            fail(f"{run}: not there")
    out = arguments.out.resolve()
    quiet = arguments.quiet or measure(binary, out / "quiet", arguments.arguments)
    disturbed = arguments.disturbed
    if not disturbed:
        with Competitor(arguments.busy, arguments.period):
            disturbed = measure(binary, out / "disturbed", arguments.arguments)
    for name, run in [("quiet", quiet), ("disturbed", disturbed)]:
        print(f"{name}: {run}: {quietness(run)}")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        are_close = compare_medians(medians(binary, quiet, work), medians(binary, disturbed, work))
        has_sweep = all((run / "sweep").is_dir() for run in [quiet, disturbed])
        print(f"\nRO3 is judged by a fit to {'the sweep of each run' if has_sweep else 'A-G itself'}")
        agree = compare_answers(*(answers(binary, run, has_sweep, work) for run in [quiet, disturbed]))
    sys.exit(0 if are_close and agree else 1)


if __name__ == "__main__":
    main()
