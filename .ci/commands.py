"""What the end-to-end checks have in common: starting programs, checking, reading records."""

import json
import os
import subprocess
import sys
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
