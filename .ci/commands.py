"""What the end-to-end checks have in common: starting programs, checking, reading records."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path.cwd()
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BINARY = TARGET / "release" / "alpha-flops"
SMOKE = {"ALPHA_FLOPS_PROFILE": "smoke"}


def run(command, expect=0, env=None, **kwargs):
    """Runs a command; its status must be `expect` (None: any). Returns output of both streams."""
    result = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **kwargs,
    )
    if expect is not None and result.returncode != expect:
        sys.exit(f"{command}: status {result.returncode}, expected {expect}\n{result.stdout}")
    return result.stdout


def check(condition, message):
    if not condition:
        sys.exit(f"FAILED: {message}")
    print(f"ok: {message}", flush=True)


def bench_binary():
    """Builds the benchmarks and returns their executable, to be killed without cargo around it."""
    command = ["cargo", "bench", "--bench", "experiments", "--no-run", "--message-format=json"]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    messages = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return next(m["executable"] for m in messages if m.get("executable"))


def runs_in(folder):
    return sorted(path.parent for path in Path(folder).glob("*/run.json"))


def header(run_folder):
    return json.loads((run_folder / "run.json").read_text(encoding="utf-8"))


def interrupted_sweep(command, folder, env, kill_after):
    """Kills a sweep after so many seconds, and continues it. Returns the whole command's output."""
    process = subprocess.Popen([*map(str, command), "--part-interval", "100ms"],
                               env={**os.environ, **env}, stdout=subprocess.DEVNULL)
    time.sleep(kill_after)
    process.kill()
    process.wait()
    kept = {path.name: path.read_bytes() for path in (folder / "parts").glob("*.parquet")}
    check(len(kept) > 1, "a killed sweep has kept parts")
    output = run(command, env=env)
    check(all((folder / "parts" / name).read_bytes() == part for name, part in kept.items()),
          "the same command continues it and leaves what was kept")
    return output


def rows(csv):
    """The lines of a dataset, without its header."""
    return csv.read_text(encoding="utf-8").splitlines()[1:]
