"""Damaged and foreign inputs, made of the recorded ones: the same on every machine."""

import json
import re
import shutil


def bad_inputs(work):
    """Makes the folder `bad` beside the recorded inputs."""
    bad = work / "bad"
    bad.mkdir()
    (bad / "empty").mkdir()
    (bad / "file").write_text("no folder\n")
    bad_datasets(bad, work / "out/import/measured")
    bad_coefficients(bad, work / "out/fit/measured/coefficients.json")
    bad_runs(bad, work / "measured/1", work)
    bad_simulated(bad, work / "simulated/after-1")
    bad_sweeps(bad, work / "sweep/1")
    bad_targets(bad, work)
    bad_pickles(bad, work / "pickles/made-up.pickle")


def bad_datasets(bad, imported):
    csv = (imported / "data.csv").read_text(encoding="utf-8")
    header, first, rest = csv.split("\n", 2)
    columns = header.split(",")

    def with_cell(name, text, column):
        # device and versions hold commas and are quoted; numbers come after them
        cells = re.findall(r'"[^"]*"|[^,]+|(?<=,)(?=,|$)', first)
        cells[columns.index(column)] = text
        (bad / f"{name}.csv").write_text("\n".join([header, ",".join(cells), rest]))

    with_cell("negative", "-5", "median_ns")
    with_cell("zero", "0", "mean_ns")
    with_cell("nan", "NaN", "median_ns")
    with_cell("infinite", "inf", "median_ns")
    with_cell("word", "fast", "median_ns")
    with_cell("no-median", "", "median_ns")
    with_cell("no-kernel", "0", "kernel")
    with_cell("huge", "99999999999999999999", "height")
    with_cell("other-device", '"Another CPU, 2 threads"', "device")
    with_cell("other-protocol", "host-latency-cold", "protocol")
    with_cell("quartiles", "1", "q3_ns")
    texts = {
        "header-only": header + "\n",
        "empty": "",
        "no-header": first + "\n" + rest,
        "renamed-column": csv.replace("median_ns", "median_us", 1),
        # without the last one that must be there: the two after it may be missing
        "missing-column": "\n".join(line.rsplit(",", 3)[0] for line in csv.splitlines()) + "\n",
        "short-row": csv + "cut,cpu\n",
        "twice": csv + first + "\n",
        "open-quote": csv + '"cut,cpu\n',
    }
    for name, text in texts.items():
        (bad / f"{name}.csv").write_text(text, encoding="utf-8")
    (bad / "latin1.csv").write_bytes(csv.replace("×", "\xd7").encode("latin-1"))
    parquet = (imported / "data.parquet").read_bytes()
    contents = {"cut": parquet[:-100], "half": parquet[:len(parquet) // 2], "none": b"",
                "text": csv.encode(), "no-end": parquet[:-1]}
    for name, content in contents.items():
        (bad / f"{name}.parquet").write_bytes(content)
    (bad / "data.txt").write_text(csv, encoding="utf-8")


def bad_coefficients(bad, fitted):
    def changed(name, change):
        value = json.loads(fitted.read_text(encoding="utf-8"))
        change(value)
        (bad / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")

    changed("newer", lambda value: value.update(schema_version=99))
    changed("no-convention", lambda value: value.pop("s_k"))
    changed("unknown-convention", lambda value: value.update(s_k="diagonal"))
    changed("no-group", lambda value: value.update(k_equal_1=None, k_above_1=None))
    changed("no-beta", lambda value: value["k_above_1"].pop("beta"))
    changed("negative-final", lambda value: value["k_above_1"].update(final=-1.0))
    (bad / "cut.json").write_text(fitted.read_text(encoding="utf-8")[:200], encoding="utf-8")


def bad_runs(bad, sound, work):
    def copied(name, run=sound):
        shutil.copytree(run, bad / name)
        return bad / name

    def changed(name, change, run=sound):
        path = copied(name, run) / "run.json"
        header = json.loads(path.read_text(encoding="utf-8"))
        change(header)
        path.write_text(json.dumps(header, indent=2, ensure_ascii=False), encoding="utf-8")

    def platform(**fields):
        return lambda header: header["plan"]["platform"].update(fields)

    (copied("no-header") / "run.json").unlink()
    header = copied("cut-header") / "run.json"
    header.write_text(header.read_text(encoding="utf-8")[:500], encoding="utf-8")
    changed("newer-run", lambda header: header.update(schema_version=99))
    changed("unfinished", lambda header: header.update(status="unfinished"))
    changed("nothing-measured", lambda header: header.update(configurations=[]))
    changed("no-latency", lambda header: header["configurations"][1]["outcome"]["summary"].update(
        median_ns=0.0))
    changed("other-device", platform(device="Another CPU"))
    changed("other-rustc", platform(rustc="rustc 0.1.0"))
    changed("other-backend", platform(backend="other"))
    changed("other-protocol", lambda header: header["plan"]["settings"].update(
        protocol="host-latency-cold"))
    ids = sorted(str(path.parent.parent.relative_to(sound / "criterion"))
                 for path in (sound / "criterion").rglob("sample.json"))
    times = r'"times":\[[^,]*'
    for name, damage in {
        "sample-cut": lambda path: path.write_text(path.read_text()[:40]),
        "sample-missing": lambda path: path.unlink(),
        "sample-zero": lambda path: path.write_text(
            re.sub(times, '"times":[0.0', path.read_text())),
        "sample-negative": lambda path: path.write_text(
            re.sub(times, '"times":[-1.0', path.read_text())),
        "sample-null": lambda path: path.write_text(
            re.sub(times, '"times":[null', path.read_text())),
        "sample-short": lambda path: path.write_text(
            re.sub(times + ",", '"times":[', path.read_text())),
    }.items():
        damage(copied(name) / "criterion" / ids[5] / "new/sample.json")
    foreign = copied("criterion-mixed") / "criterion" / ids[5] / "new/benchmark.json"
    shutil.copy(sound / "criterion" / ids[6] / "new/benchmark.json", foreign)
    launches = (sound / "launches.parquet").read_bytes()
    for name, content in {"launches-cut": launches[:-100], "launches-empty": b"",
                          "launches-half": launches[:len(launches) // 2]}.items():
        (copied(name) / "launches.parquet").write_bytes(content)
    (copied("launches-missing") / "launches.parquet").unlink()
    other = work / "measured/2/launches.parquet"
    shutil.copy(other, copied("launches-of-another") / "launches.parquet")
    few = work / "stand-in/run/launches.parquet"
    shutil.copy(few, copied("launches-foreign") / "launches.parquet")


def bad_simulated(bad, sound):
    def changed(name, change):
        shutil.copytree(sound, bad / name)
        path = bad / name / "run.json"
        header = json.loads(path.read_text(encoding="utf-8"))
        change(header)
        path.write_text(json.dumps(header, indent=2, ensure_ascii=False), encoding="utf-8")

    def without_first(header):
        del header["configurations"][0], header["plan"]["ids"][0]

    changed("simulated-renamed", lambda header: header["configurations"][0].update(
        id="A/renamed"))
    changed("simulated-without-first", without_first)
    def platform(**fields):
        return lambda header: header["plan"]["platform"].update(fields)

    changed("simulated-rustc", platform(rustc="rustc 0.1.0"))
    changed("simulated-device", platform(device="another"))
    changed("simulated-again", lambda header: header.update(run_id="simulated-0-1"))


def bad_sweeps(bad, sound):
    def copied(name):
        shutil.copytree(sound, bad / name)
        return bad / name

    def changed(name, change):
        path = copied(name) / "sweep.json"
        header = json.loads(path.read_text(encoding="utf-8"))
        change(header)
        path.write_text(json.dumps(header, indent=2, ensure_ascii=False), encoding="utf-8")

    def part(folder):
        return sorted((folder / "parts").iterdir())[0]

    (copied("sweep-no-header") / "sweep.json").unlink()
    changed("sweep-newer", lambda header: header.update(schema_version=99))
    changed("sweep-seed", lambda header: header["plan"].update(seed=2, shard="2/2"))
    changed("sweep-launches", lambda header: header["plan"].update(launches=10, shard="2/2"))
    changed("sweep-device", lambda header: (header["plan"].update(shard="2/2"),
                                            header["plan"]["platform"].update(device="Other")))
    changed("sweep-whole", lambda header: header["plan"].update(shard="1/1"))
    changed("sweep-grid", lambda header: header["plan"].update(grid="unknown"))
    cut = part(copied("sweep-cut"))
    cut.write_bytes(cut.read_bytes()[:-50])
    part(copied("sweep-missing-part")).unlink()
    renamed = part(copied("sweep-renamed-part"))
    renamed.rename(renamed.with_name("0000001-0000002.parquet"))
    shutil.rmtree(copied("sweep-no-parts") / "parts")


def bad_targets(bad, work):
    """Folders of archived runs with something wrong in each."""
    archive = work / "target-data/cpu-amd-epyc-2-threads"
    run = "2026-11-25t15-38-14z-063f"

    def target(name):
        folder = bad / name
        folder.mkdir()
        for extension in ("csv", "environment.json"):
            shutil.copy(archive / f"{run}.{extension}", folder / f"{run}.{extension}")
        return folder

    (target("target-no-environment") / f"{run}.environment.json").unlink()
    (target("target-no-data") / f"{run}.csv").unlink()
    cut = target("target-cut-environment") / f"{run}.environment.json"
    cut.write_text(cut.read_text(encoding="utf-8")[:300], encoding="utf-8")
    wrong = target("target-negative") / f"{run}.csv"
    text = re.sub(r"(,1,[a-z]+,)", r"\1-", wrong.read_text(encoding="utf-8"), count=1)
    wrong.write_text(text, encoding="utf-8")
    target("target-of-one")


def bad_pickles(bad, sound):
    content = sound.read_bytes()
    (bad / "cut.pickle").write_bytes(content[:len(content) // 2])
    (bad / "empty.pickle").write_bytes(b"")
    (bad / "text.pickle").write_bytes(b"no pickle\n")
    # os.system("true"), which must not be looked up, let alone run
    (bad / "code.pickle").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
