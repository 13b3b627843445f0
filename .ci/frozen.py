"""What every command prints and writes, on recorded inputs: compared with what is kept of it.

    python3 .ci/frozen.py check --binary target/debug/alpha-flops       everything as it was?
    python3 .ci/frozen.py update-words --binary …                      keep the words as they are now
    python3 .ci/frozen.py update-pictures --binary …                   and how figures are laid out
    python3 .ci/frozen.py diff --binary … --baseline OTHER             shows data that differ
    python3 .ci/frozen.py record --binary …                            keep everything as it is now

`tests/frozen/cases.toml` lists the commands, `tests/frozen/README.md` says what is kept. With
`--original DIR` the commands are those on the original study's data, of which nothing may be kept
here: it is outside, in DIR. `--only` chooses cases by a regular expression, `--quick` leaves out
those that draw figures.
"""

import argparse
import csv
import difflib
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from frozen_inputs import bad_inputs

ROOT = Path(__file__).resolve().parent.parent
FROZEN = ROOT / "tests/frozen"
EXPECTED = FROZEN / "expected"
ORIGINAL_STUDY = ROOT / "../shared/data/asperti-quadro-t2000/data.pickle"

# What people read. All else in JSON and CSV is for programs: names, numbers, identifiers.
PROSE_FIELDS = {"caution", "components_note", "criterion", "sentence", "judge", "value", "of",
                "reason", "remarks", "text", "title", "warnings", "what", "differs",
                "coefficients", "not_fitted", "not_evaluated"}
PROSE_COLUMNS = {"flags", "cause", "judge", "reason"}


class Case:
    """A command with one of its formats."""

    def __init__(self, table, output_format):
        self.name = table["name"] + (f".{output_format}" if output_format else "")
        self.format = output_format or table.get("format", "table")
        self.out = f"out/{self.name}"
        # the folder of results may be named, and the format is an option like others
        command = table["run"].replace("{out}", self.out)
        self.arguments = shlex.split(command)
        if output_format:
            self.arguments += ["--format", output_format]
        self.environment = table.get("env", {})
        self.first = table.get("first", False)
        self.draws = table.get("draws", False)
        self.measures = table.get("measures", False)
        self.original_study = table.get("original_study", False)
        self.in_checkout = table.get("in_checkout", False)


class Captured:
    """What cases gave: data and pictures by `CASE PART`, words by case."""

    def __init__(self):
        self.data, self.words, self.pictures = {}, {}, {}

    def add(self, other):
        self.data |= other.data
        self.words |= other.words
        self.pictures |= other.pictures


def cases(options):
    with open(FROZEN / "cases.toml", "rb") as file:
        tables = tomllib.load(file)["case"]
    every = [Case(table, name) for table in tables for name in table.get("formats", [None])]
    names = [case.name for case in every]
    assert len(names) == len(set(names)), "two cases of one name"
    chosen = [case for case in every if re.search(options.only, case.name)
              and not (case.draws and options.quick)
              and case.original_study == bool(options.original)]
    # what others read is made, whatever is chosen
    first = [case for case in every if case.first and case.original_study == bool(options.original)]
    return first, [case for case in chosen if not case.first], {case.name for case in chosen}


def prepare(work, options):
    """The folder that commands run in: recorded runs, archived datasets, bad inputs."""
    shutil.copytree(FROZEN / "fixtures", work, dirs_exist_ok=True)
    (work / "pickles").mkdir()
    made_up = ROOT / "analysis/tests/goldens/asperti_like.pickle"
    shutil.copy(made_up, work / "pickles/made-up.pickle")
    if options.original:
        (work / "pickles/original.pickle").symlink_to(ORIGINAL_STUDY)


def capture(binary, options):
    """Runs the chosen cases."""
    first, rest, chosen = cases(options)
    captured = Captured()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder).resolve()
        prepare(work, options)

        def run(case):
            return run_case(case, Path(binary).resolve(), work)

        made = [run(case) for case in first]
        if not options.original:
            bad_inputs(work)
        with ThreadPoolExecutor(max_workers=options.jobs) as pool:
            made += pool.map(run, rest)
    for one in made:
        captured.add(one)
    # those that others need were run, but may not be asked for
    for part in (captured.data, captured.words, captured.pictures):
        for key in [key for key in part if key.split(" ")[0] not in chosen]:
            del part[key]
    return captured


def run_case(case, program, work):
    out = work / case.out
    out.mkdir(parents=True, exist_ok=True)
    environment = {"PATH": os.environ["PATH"], "HOME": str(work), "TZ": "UTC", "NO_COLOR": "1",
                   "ALPHA_FLOPS_BACKEND": "cpu", "ALPHA_FLOPS_RUNS": str(work / "runs")}
    environment |= {name: value.replace("{out}", str(out)) for name, value in
                    case.environment.items()}
    # help names the program as it was called
    result = subprocess.run(["alpha-flops", *case.arguments], executable=program,
                            cwd=ROOT if case.in_checkout else work, env=environment, check=False,
                            stdin=subprocess.DEVNULL, capture_output=True, timeout=600)
    return sorted_out(case, result, out, work)


def sorted_out(case, result, out, work):
    """Divides what a command gave into data, words and pictures."""
    captured = Captured()
    words = [f"$ alpha-flops {shlex.join(case.arguments)}\n"]
    captured.data[f"{case.name} status"] = str(result.returncode)

    def shaped(text):
        text = normal(text, work)
        return without_numbers(text) if case.measures else text

    def keep(part, content, kind):
        if kind == "svg":
            texts, drawn = taken_apart(content.decode())
            words.append(section(part, "\n".join(texts) + "\n"))
            captured.pictures[f"{case.name} {part}"] = digests(drawn, content)
            return
        if kind == "png":
            width, height = struct.unpack(">II", content[16:24])
            of_svg = f"{case.name} {part.removesuffix('.png')}.svg"
            picture = {"png": digest(content), "png_size": f"{width}x{height}"}
            captured.pictures.setdefault(of_svg, {}).update(picture)
            return
        if kind in ("json", "csv"):
            text = normal(content.decode(), work)
            data, prose = (json_parts if kind == "json" else csv_parts)(text, case.measures)
            captured.data[f"{case.name} {part}"] = data
            if prose:
                words.append(section(f"{part}: words", prose))
            return
        if kind in ("parquet", "binary"):
            captured.data[f"{case.name} {part}"] = "" if case.measures else content.hex()
            return
        words.append(section(part, shaped(content.decode())))

    kind = case.format if case.format in ("json", "csv") and result.stdout else "words"
    if kind == "json" and not result.stdout.startswith((b"{", b"[")):
        kind = "words"
    keep("stdout", result.stdout, kind)
    keep("stderr", result.stderr, "words")
    kinds = {".csv": "csv", ".json": "json", ".svg": "svg", ".png": "png", ".md": "words",
             ".log": "words"}
    files = sorted(path for path in out.rglob("*") if path.is_file())
    if case.measures:
        # criterion's own depend on chance
        files = [path for path in files if "criterion" not in path.parts and path.suffix != ".log"]
    for path in files:
        name = shaped(str(path.relative_to(out)))
        keep(name, path.read_bytes(), kinds.get(path.suffix, "binary"))
    captured.words[case.name] = "".join(words) + f"── status {result.returncode}\n"
    return captured


def section(name, text):
    return f"── {name}\n{text}" + ("" if text.endswith("\n") or not text else "\n") if text else ""


def normal(text, work):
    """Without what depends on where it ran."""
    text = text.replace(str(work), "{work}").replace(str(ROOT), "{root}")
    # the workspace of the binary, which may be another checkout
    text = re.sub(r"/[^\s`:]*/(target-data|target/criterion)\b", r"{root}/\1", text)
    return text.replace("\x1b", "<ESC>")


def first_word(line):
    return line.split(" ", 1)[0]


def without_numbers(text):
    """What a command that measures says; the digits of ids stay."""
    text = re.sub(r"(?m)^device: .*$", "device: …", text)
    # what else the machine does is not this program's
    text = re.sub(r"(?m)^(disturbed|machine): .*$", r"\1: …", text)
    lines = text.split("\n")
    again = [re.match("[A-G]/", line) and line.split()[0] in map(first_word, lines[:index])
             for index, line in enumerate(lines)]
    text = "\n".join(line for line, is_again in zip(lines, again) if not is_again)
    text = re.sub(r"(?m)^(note: another run|the machine was not quiet enough).*\n", "", text)
    text = re.sub(r"\d{4}-\d\d-\d\dt\d\d-\d\d-\d\dz-[0-9a-f]{4}", "{run}", text)
    text = re.sub(r"(?<![\w=.])[\d.,]*\d", "#", text)
    text = re.sub(r"#-#.parquet", "{part}", text)
    text = re.sub(r"# ?(ns|µs|ms|s)\b", "# {time}", text)
    return re.sub(r"[ \t]+", " ", text)


def json_parts(text, shape_only):
    """Data as sorted JSON with every digit, and what people read, each text once."""
    found = {}

    def without_prose(value, key, path):
        if shape_only and path == ".machine":
            # cores that seldom ran at once have no distance: it depends on what else runs
            return ""
        if isinstance(value, dict):
            kept = {}
            for name, inner in value.items():
                is_label = name == "name" and "value" in value
                is_source = name == "source" and "protocol" not in value
                is_prose = name in PROSE_FIELDS or is_label or is_source
                kept[name] = without_prose(inner, name if is_prose else "", f"{path}.{name}")
            return kept
        if isinstance(value, list):
            kept = [without_prose(inner, key, f"{path}[]") for inner in value]
            return kept[:1] if shape_only else kept
        if isinstance(value, str) and key:
            counts = found.setdefault(path.lstrip("."), {})
            counts[value] = counts.get(value, 0) + 1
            return "…"
        return "" if shape_only else value

    # numbers as they are written: the last digit counts
    value = json.loads(text, parse_float=lambda digits: f"#{digits}", parse_int=lambda d: f"#{d}")
    data = json.dumps(without_prose(value, "", ""), indent=1, sort_keys=True, ensure_ascii=False)
    return data, "" if shape_only else listed(found)


def csv_parts(text, shape_only):
    """The rows without columns of words, and these words, each once."""
    if shape_only:
        return text.splitlines()[0] + "\n", ""
    rows = list(csv.reader(io.StringIO(text)))
    found = {}
    prose = [i for i, name in enumerate(rows[0] if rows else []) if name in PROSE_COLUMNS]
    if not prose:
        return text, ""
    for row in rows[1:]:
        for i in prose:
            counts = found.setdefault(rows[0][i], {})
            counts[row[i]] = counts.get(row[i], 0) + 1
            row[i] = "…" if row[i] else ""
    return "\n".join(",".join(row) for row in rows) + "\n", listed(found)


def listed(found):
    lines = []
    for path, counts in found.items():
        lines.append(f"{path}:")
        lines += [f"  {count} × {text}" for text, count in counts.items() if text]
    return "\n".join(lines)


def taken_apart(svg):
    """The texts of a figure, and what is drawn beside them."""
    texts = [text.strip() for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]
    return texts, re.sub(r"<text[^>]*>[^<]*</text>", "", svg)


def digest(content):
    content = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(content).hexdigest()


def digests(drawn, svg):
    return {"drawn": digest(drawn), "svg": digest(svg)}


def kept_in(folder):
    """What is kept, in the form of what is captured; data as digests."""
    def load(name):
        path = folder / name
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    kept = Captured()
    kept.data, kept.pictures = load("digests.json"), load("pictures.json")
    for path in sorted((folder / "words").rglob("*.txt")):
        name = str(path.relative_to(folder / "words")).removesuffix(".txt")
        kept.words[name] = path.read_text(encoding="utf-8")
    return kept


def as_kept(data):
    """Exit statuses stay readable."""
    return {key: text if key.endswith(" status") else digest(text) for key, text in data.items()}


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def is_chosen(options):
    """Whether a kept case is one of those that were run."""
    _, _, chosen = cases(options)
    return lambda key: key.split(" ")[0] in chosen


def update(folder, captured, options, data, pictures):
    chosen, kept = is_chosen(options), kept_in(folder)
    for name in kept.words:
        if chosen(name):
            (folder / "words" / f"{name}.txt").unlink()
    for name, text in captured.words.items():
        path = folder / "words" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    if data:
        others = {key: value for key, value in kept.data.items() if not chosen(key)}
        write_json(folder / "digests.json", others | as_kept(captured.data))
    others = {key: value for key, value in kept.pictures.items() if not chosen(key)}
    drawn = captured.pictures
    if not pictures:
        # captions are words: only what is drawn beside them has to be as it was
        unchanged = {key: value for key, value in captured.pictures.items()
                     if kept.pictures.get(key, {}).get("drawn") == value.get("drawn")}
        before = {key: value for key, value in kept.pictures.items() if chosen(key)}
        drawn = before | unchanged
    write_json(folder / "pictures.json", others | drawn)


def check(folder, captured, options):
    """Says what differs from what is kept. Returns whether data, pictures and words are equal."""
    chosen, kept = is_chosen(options), kept_in(folder)
    data, equal = as_kept(captured.data), {"data": True, "pictures": True, "words": True}
    for key in sorted(data.keys() | set(filter(chosen, kept.data))):
        if data.get(key) != kept.data.get(key):
            equal["data"] = False
            status = f": {kept.data.get(key)} became {data.get(key)}"
            print(f"DATA DIFFER: {key}" + (status if key.endswith(" status") else ""))
    for key in sorted(captured.pictures.keys() | set(filter(chosen, kept.pictures))):
        now, before = captured.pictures.get(key, {}), kept.pictures.get(key, {})
        parts = [part for part in ("drawn", "png_size") if now.get(part) != before.get(part)]
        if now.get("svg") == before.get("svg") and now.get("png") != before.get("png"):
            parts.append("png")
        if parts:
            equal["pictures"] = False
            print(f"PICTURES DIFFER: {key}: {', '.join(parts)}")
    for name in sorted(captured.words.keys() | set(filter(chosen, kept.words))):
        now, before = captured.words.get(name, ""), kept.words.get(name, "")
        if now != before:
            equal["words"] = False
            sys.stdout.writelines(difference(before, now, name))
    return equal


def difference(before, now, name):
    lines = difflib.unified_diff(before.splitlines(keepends=True), now.splitlines(keepends=True),
                                 f"{name} before", f"{name} now")
    return [line if line.endswith("\n") else line + "\n" for line in lines]


def show_difference(captured, baseline):
    for key in sorted(captured.data.keys() | baseline.data.keys()):
        sys.stdout.writelines(difference(baseline.data.get(key, ""), captured.data.get(key, ""), key))


def parsed():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["check", "diff", "record", "update-words",
                                           "update-pictures"])
    parser.add_argument("--binary", required=True, help="the command alpha-flops")
    parser.add_argument("--baseline", help="diff: an alpha-flops that is known to be right")
    parser.add_argument("--only", default="", help="a regular expression for names of cases")
    parser.add_argument("--quick", action="store_true", help="leave out what draws figures")
    parser.add_argument("--words-ok", action="store_true",
                        help="check: show how words differ, but do not fail")
    parser.add_argument("--original", metavar="DIR",
                        help="run the original study's data instead, keep outputs in DIR")
    parser.add_argument("--jobs", type=int, default=2)
    return parser.parse_args()


def main():
    options = parsed()
    if options.original and not ORIGINAL_STUDY.exists():
        print("skipped: the original study's data is not beside this checkout")
        return
    folder = Path(options.original) if options.original else EXPECTED
    captured = capture(options.binary, options)
    print(f"{len(captured.words)} commands", flush=True)
    if options.action == "diff":
        show_difference(captured, capture(options.baseline, options))
        return
    if options.action != "check":
        update(folder, captured, options, data=options.action == "record",
               pictures=options.action in ("record", "update-pictures"))
    equal = check(folder, captured, options)
    if not equal["data"]:
        print("What programs read has changed. To see how: frozen.py diff --baseline BINARY")
    if not equal["pictures"]:
        print("Figures are drawn otherwise. If that is meant: frozen.py update-pictures")
    if not equal["words"]:
        print("Words have changed. If for the better: frozen.py update-words")
    words_fail = not equal["words"] and not options.words_ok
    if not (equal["data"] and equal["pictures"]) or words_fail:
        sys.exit(1)
    print("frozen outputs are as they were" if equal["words"] else "only words differ")


main()
