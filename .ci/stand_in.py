"""The main job on the stand-in for NVIDIA's libraries: every configuration, verified; sweeps; memory.

It is not a GPU: what is checked is that everything runs, computes rightly, leaks nothing, and says
that it is no measurement. Run from the repository's root: python3 .ci/stand_in.py
"""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from commands import (BINARY, TARGET, bench_binary, check, header, interrupted_sweep, rows, run,
                      runs_in)

NAMES = ["libcuda.so.1", "libcudnn.so.9", "libcublasLt.so.12", "libnvidia-ml.so.1",
         *(f"libcudnn_{part}.so.9" for part in ["graph", "heuristic", "engines_precompiled",
                                               "engines_runtime_compiled", "ops"])]


def libraries(work):
    """A folder in which the stand-in has the names of the libraries that it stands in for."""
    run(["cargo", "build", "--release", "--quiet", "-p", "alpha-flops-stand-in"])
    folder = work / "libraries"
    folder.mkdir()
    for name in NAMES:
        (folder / name).symlink_to(TARGET / "release" / "libstand_in.so")
    return folder


def clean(report):
    """Whether nothing is left over, by the stand-in's own counts."""
    counts = json.loads(report.read_text(encoding="utf-8"))
    return (not any(counts["live"].values()) and counts["releases_of_what_was_not_live"] == 0
            and counts["uses_after_release"] == 0)


def whole_suite(work, env):
    runs = work / "runs"
    # as many passes as it takes to join some: each warms every configuration up again
    env = {**env, "ALPHA_FLOPS_RUNS": str(runs), "ALPHA_FLOPS_RESOLUTION": "original",
           "ALPHA_FLOPS_LAUNCHES": "10", "ALPHA_FLOPS_PASSES": "2", "NO_COLOR": "1"}
    output = run(["cargo", "replicate", "--verify", "--sweep-budget", "5s"], env=env)
    check("NOT A GPU" in output and "on the CPU:" not in output,
          "with the libraries there, cuDNN is used unasked, and it is said to be no GPU")
    [folder] = runs_in(runs)
    record = header(folder)
    outcomes = [c["outcome"] for c in record["configurations"]]
    check(len(outcomes) == 591 and all(o["status"] == "measured" and o["verified"]
                                       for o in outcomes),
          "all 591 configurations agree with direct sums, on asymmetrically padded images, too")
    check(all(o["plan"]["rank"] > 0 and o["plan"]["refused"] and o["device"]["samples"] >= 2
              for o in outcomes), "each has its plan, why none before it, and the device's state")
    check(record["plan"]["platform"]["backend"] == "cudnn-stand-in"
          and all(len(session["why_cpu"] or "") == 0 for session in record["sessions"]),
          "the record says that it is a stand-in's")
    check(clean(work / "report.json"), "nothing is left of handles, descriptors and memory")
    return folder


def reports(folder, work):
    """Nothing that is made of it passes for a GPU's."""
    markdown = (folder / "report/report.md").read_text(encoding="utf-8")
    figures = list((folder / "report/figures").glob("*.svg"))
    check(markdown.splitlines()[2].startswith("**NOT A GPU") and len(figures) >= 14
          and all("NOT A GPU" in figure.read_text(encoding="utf-8") for figure in figures),
          "the report and each of its figures say so")
    dataset, cpu = work / "stand-in.csv", next(Path("target-data").glob("cpu-*/*.csv"))
    run([BINARY, "import", "criterion", folder, "--out", dataset])
    output = run([BINARY, "report", dataset, cpu, "--out", work / "mixed"], expect=1)
    check("is stand-in (not a GPU)" in output, "it is not shown beside measurements")
    output = run([BINARY, "evaluate", dataset, "--coefficients", "published-rtx4090"], expect=1)
    check("no measurements" in output, "a GPU's coefficients are not judged by it")


def sweeps(work, env):
    for protocol in ["throughput", "latency"]:
        folder = work / f"sweep-{protocol}"
        dataset = folder.with_suffix(".csv")
        command = [BINARY, "sweep", "--grid", "published", "--budget", "5s",
                   "--protocol", protocol, "--out", folder]
        output = interrupted_sweep(command, folder, env, kill_after=2)
        check("failed 0" in output and clean(work / "report.json"),
              f"a sweep by {protocol}, killed and continued, leaves nothing over")
        calls = json.loads((work / "report.json").read_text(encoding="utf-8"))["calls"]
        run([BINARY, "import", "sweep", folder, "--out", dataset])
        measured = rows(dataset)
        print(f"{len(measured)} configurations; allocations since it was continued:",
              calls["cuMemAlloc_v2"])
        check(len(measured) > 50 and calls["cuMemAlloc_v2"] < len(measured),
              "its configurations use each other's memory")
        check(all("stand-in (not a GPU)" in row for row in measured),
              "each row of its dataset says that it is a stand-in's")
        not_mixed(work, dataset)


def not_mixed(work, dataset):
    """Neither side of a comparison can be a stand-in's, unless both are."""
    cpu = next(Path("target-data").glob("cpu-*/*.csv"))
    conventions = ["--s-k", "side", "--flops", "macs"]
    of_stand_in, of_cpu = work / "of-stand-in.json", work / "of-cpu.json"
    run([BINARY, "fit", dataset, *conventions, "--out", of_stand_in])
    run([BINARY, "fit", cpu, *conventions, "--out", of_cpu])
    run([BINARY, "evaluate", dataset, "--coefficients", of_stand_in])
    for one, other in [(dataset, of_cpu), (cpu, of_stand_in)]:
        output = run([BINARY, "evaluate", one, "--coefficients", other], expect=1)
        check("no measurements" in output, f"{other.name} is not judged by {one.name}")
    output = run([BINARY, "report", dataset, cpu, "--out", work / "mixed"], expect=1)
    check("is stand-in (not a GPU)" in output, "its dataset is not shown beside measurements")


def single_precision(work, env):
    """Without tensor cores the tolerance is that of f32, and another engine computes."""
    env = {**env, "ALPHA_FLOPS_MATH": "fp32", "ALPHA_FLOPS_RESOLUTION": "original",
           "ALPHA_FLOPS_RUNS": str(work / "none")}
    output = run([bench_binary(), "--bench", "--test"], env=env)
    check(output.count("Success") == 591, "all 591 agree with direct sums in fp32")


def memory(work, env):
    """Every access to memory, the device's too, under valgrind."""
    if shutil.which("valgrind") is None:
        print("skipped: memory errors (valgrind is not installed)")
        return
    command = ["valgrind", "--quiet", "--error-exitcode=99", "--leak-check=full",
               "--errors-for-leak-kinds=definite,indirect", bench_binary(), "--bench", "--verify",
               "^(A/.*(in=100_|in=50_|in=25_)|B/.*in=50_out=50_k=(2|30)$)"]
    for number, more in enumerate([
        {"ALPHA_FLOPS_PLAN": "measured", "ALPHA_FLOPS_CACHE": "cold"},
        {"ALPHA_FLOPS_PROTOCOL": "throughput", "STAND_IN_FAULTS": "fail-allocation=7"},
        {"STAND_IN_FAULTS": "refuse-plans=2,fail-execution=20,throttle=2"},
    ]):
        runs = work / f"valgrind-{number}"
        more = {**env, **more, "ALPHA_FLOPS_RUNS": str(runs), "ALPHA_FLOPS_LAUNCHES": "10",
                "ALPHA_FLOPS_RESOLUTION": "original", "ALPHA_FLOPS_PROFILE": "smoke"}
        result = subprocess.run(command, env={**os.environ, **more}, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                check=False)
        check(result.returncode in (0, 1) and "==" not in result.stdout and runs_in(runs)
              and clean(work / "report.json"),
              f"valgrind finds no error with {more.get('STAND_IN_FAULTS', 'no fault')}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        env = {"LD_LIBRARY_PATH": str(libraries(work)), "ALPHA_FLOPS_BACKEND": "auto",
               "STAND_IN_REPORT": str(work / "report.json")}
        # its queued launches all take equally long: nothing could be fitted to their latencies
        submitted = {**env, "ALPHA_FLOPS_CLOCK": "device"}
        reports(whole_suite(work, submitted), work)
        single_precision(work, env)
        sweeps(work, submitted)
        memory(work, env)


main()
