"""What `alpha-flops export` writes is read by the tools that it is written for.

    python3 .ci/export.py target/debug/alpha-flops

nvbench's own `nvbench-compare-robust`, from the package cuda-bench, reads two exported runs; the other two formats
are checked against what their documentation promises. Where PyPI cannot be reached, nvbench is skipped.
"""

import csv
import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNS = [ROOT / "tests/frozen/fixtures/measured" / name for name in "12"]
# cuda-bench by itself: what it depends on is for measuring on a GPU
PACKAGES = [["--no-deps", "cuda-bench"], ["numpy", "colorama", "tabulate", "jsondiff"]]


def export(binary, run, tool, out):
    subprocess.run([binary, "export", run, "--to", tool, "--out", out], check=True)
    return json.loads(out.read_text())


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_bencher(root):
    assert root and isinstance(root, dict)
    for name, measures in root.items():
        assert 0 < len(name) <= 1024 and list(measures) == ["latency"], name
        metric = measures["latency"]
        assert set(metric) <= {"value", "lower_value", "upper_value"} and "value" in metric, name
        assert all(is_number(value) for value in metric.values()), name


def check_github_action_benchmark(root):
    assert root and isinstance(root, list)
    for entry in root:
        assert is_number(entry["value"]), entry
        for field in ("name", "unit", "range", "extra"):
            assert isinstance(entry[field], str), entry


def check_way_back(binary, root, file):
    """`import nvbench` has the medians of the file."""
    out = file.with_suffix(".csv")
    subprocess.run([binary, "import", "nvbench", file, "--out", out], check=True)
    with out.open(encoding="utf-8") as rows:
        imported = [float(row["median_ns"]) for row in csv.DictReader(rows)]
    states = [state for benchmark in root["benchmarks"] for state in benchmark["states"]]
    medians = [float(summary["data"][0]["value"]) for state in states
               for summary in state["summaries"] if summary["tag"].endswith("time/gpu/median")]
    assert len(imported) == len(medians) == len(states) > 0
    for got, seconds in zip(imported, medians):
        assert abs(got / (seconds * 1e9) - 1) < 1e-12, (got, seconds)
    print(f"{len(states)} exported configurations are imported again")


def check_nvbench(binary, folder):
    files = [folder / f"{run.name}.json" for run in RUNS]
    states = 0
    for run, file in zip(RUNS, files):
        root = export(binary, run, "nvbench", file)
        states = sum(len(benchmark["states"]) for benchmark in root["benchmarks"])
        check_way_back(binary, root, file)
    tools = folder / "venv"
    venv.create(tools, with_pip=True)
    for packages in PACKAGES:
        pip = [tools / "bin/python", "-m", "pip", "install", "--quiet", *packages]
        if subprocess.run(pip).returncode != 0:
            print("skipped: nvbench's scripts cannot be installed here")
            return
    compare = tools / "bin/nvbench-compare-robust"
    said = subprocess.run([compare, "--no-color", *files], capture_output=True, text=True)
    text = said.stdout + said.stderr
    assert f"Total Matches: {states}" in text, text
    assert "unavailable or unusable): 0" in text and "Could not use" not in text, text
    print(f"nvbench-compare-robust reads {states} configurations with their launches")


def main():
    binary = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        check_bencher(export(binary, RUNS[0], "bencher", folder / "bencher.json"))
        check_github_action_benchmark(
            export(binary, RUNS[0], "github-action-benchmark", folder / "action.json"))
        print("Bencher's and github-action-benchmark's formats are as documented")
        check_nvbench(binary, folder)


main()
