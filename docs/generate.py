#!/usr/bin/env python3
"""Writes what the program prints into the documentation.

A block in README.md or docs/*.md names its command:

    <!-- generated: alpha-flops fit target-data/… -->
    <!-- lines: REGEX -->        optional: only the lines that match
    ```text
    …
    ```
    <!-- end -->

`{tmp}` in a command is a temporary folder, and words with a star are the paths that match. Blocks that begin with `slow:` take minutes to hours, and are
written only with --slow. Run it from the project's root after `cargo build --release -p
alpha-flops-analysis`:

    python3 docs/generate.py            write all blocks that are not slow
    python3 docs/generate.py --check    fail, with a diff, where a block is not what its command prints
    python3 docs/generate.py --slow     write all blocks
"""

import argparse
import difflib
import glob
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(
    r"<!-- (?P<kind>generated|slow): (?P<command>.+?) -->\n"
    r"(?:<!-- lines: (?P<lines>.+?) -->\n)?"
    r"(?P<body>.*?)<!-- end -->",
    re.DOTALL,
)


def matching(word):
    """The paths that a word with a star stands for, as a shell would have it."""
    if "*" not in word:
        return [word]
    return sorted(glob.glob(word, root_dir=ROOT)) or sys.exit(f"{word}: matches nothing")


def output(command, binary):
    """What a command prints, with the temporary folder named as in the command."""
    with tempfile.TemporaryDirectory() as folder:
        words = [word.replace("{tmp}", folder) for word in shlex.split(command)]
        words = [one for word in words for one in matching(word)]
        if words[0] == "alpha-flops":
            words[0] = str(binary)
        result = subprocess.run(words, cwd=ROOT, env={**os.environ, "NO_COLOR": "1"},
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, check=False)
        if result.returncode != 0:
            sys.exit(f"`{command}` ended with status {result.returncode}:\n{result.stderr}")
        return result.stdout.replace(folder, "report").strip("\n") + "\n"


def written(text, binary, slow):
    """The text with what its blocks' commands print now."""
    def replaced(match):
        if match["kind"] == "slow" and not slow:
            return match[0]
        printed = output(match["command"], binary)
        head = f"<!-- {match['kind']}: {match['command']} -->\n"
        if match["lines"]:
            head += f"<!-- lines: {match['lines']} -->\n"
            pattern = re.compile(match["lines"])
            printed = "".join(line for line in printed.splitlines(True) if pattern.search(line))
        return f"{head}```text\n{printed}```\n<!-- end -->"
    return BLOCK.sub(replaced, text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail where a block is out of date")
    parser.add_argument("--slow", action="store_true", help="also the blocks that take long")
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--binary", type=Path, default=target / "release" / "alpha-flops",
                        help="the program to run [default: target/release/alpha-flops]")
    arguments = parser.parse_args()
    if not arguments.binary.is_file():
        sys.exit(f"{arguments.binary}: not there; run `cargo build --release -p alpha-flops-analysis`")
    stale = False
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        old = path.read_text(encoding="utf-8")
        new = written(old, arguments.binary.resolve(), arguments.slow)
        if old == new:
            continue
        name = str(path.relative_to(ROOT))
        if arguments.check:
            stale = True
            sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True),
                                                       name, f"{name}, as it would be generated"))
        else:
            path.write_text(new, encoding="utf-8")
            print(f"{name}: written")
    if stale:
        sys.exit("the documentation is not what the program prints; run python3 docs/generate.py")


main()
