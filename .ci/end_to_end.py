"""The whole way, as a user goes it: measure, kill, resume, damage, import, fit, evaluate, report.

Checks what comes out, never how fast. Run from the repository's root: python3 .ci/end_to_end.py
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from commands import (BINARY, ROOT, SMOKE, TARGET, bench_binary, check, header, interrupted_sweep,
                      rows, run, runs_in)


def form(run_folder):
    """What does not depend on time, nor on what else the machine does: ids, outcomes, files."""
    outcomes = sorted((c["id"], c["outcome"]["status"]) for c in header(run_folder)["configurations"])
    return outcomes, sorted(path.name for path in run_folder.iterdir())


def main_job(work):
    runs = work / "replicate"
    env = {**SMOKE, "ALPHA_FLOPS_RUNS": str(runs), "NO_COLOR": "1"}
    output = run(["cargo", "replicate", "--verify", "--sweep-budget", "5s"], env=env)
    check("\x1b" not in output, "piped output has no escape sequences")
    check("Unable to complete" not in output, "criterion's sample warnings do not reach the user")
    [folder] = runs_in(runs)
    record = header(folder)
    check(record["status"] == "finished" and len(record["configurations"]) == 69,
          "the smoke profile measures three configurations of each of the 23 lines")
    check(all(c["outcome"]["status"] == "measured" and c["outcome"]["verified"]
              for c in record["configurations"]), "every configuration is measured and verified")
    for c in record["configurations"]:
        if c["id"] not in output:
            sys.exit(f"FAILED: no line for {c['id']}")
    report = json.loads((folder / "report/report.json").read_text(encoding="utf-8"))
    markdown = (folder / "report/report.md").read_text(encoding="utf-8")
    check(len(report["figures"]) >= 14, "there are figures 1-7 and their residuals")
    for figure in report["figures"]:
        png = (folder / "report" / figure["png"]).read_bytes()
        svg = (folder / "report" / figure["svg"]).read_text(encoding="utf-8")
        if not (png.startswith(b"\x89PNG") and len(png) > 5000 and "backend cpu" in svg):
            sys.exit(f"FAILED: {figure}")
    check("backend cpu" in markdown and "RO1" in markdown and "in-sample" in markdown,
          "the report names the backend, answers RO1 and says that the fit is in-sample")
    return folder


def interrupted_series(work):
    """Two runs, killed in the second: repeated, the first is not measured again."""
    runs = work / "series"
    env = {**SMOKE, "ALPHA_FLOPS_RUNS": str(runs), "NO_COLOR": "1"}
    command = ["cargo", "replicate", "--runs", "2", "--no-sweep", "^[AF]/"]
    process = subprocess.Popen(command, env={**os.environ, **env}, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True, start_new_session=True)
    for line in process.stderr:
        if line.startswith("series: run 2 of 2 (order 1 of 1, seed 1), about "):
            break
    else:
        sys.exit("FAILED: no second run of the series")
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    first = runs_in(runs)[0]
    output = run(command, env=env)
    check("series: continuing, 1 of 2 runs are measured" in output, "a killed series continues")
    folders = runs_in(runs)
    records = [header(folder) for folder in folders]
    check(folders[0] == first and len(folders) == 2
          and [(r["status"], r["seed"], len(r["sessions"])) for r in records][0]
          == ("finished", 1, 1) and records[1]["status"] == "finished"
          and records[1]["seed"] == 1, "two runs have finished, in one order, the first at once")
    check((first / "report/report.md").exists() and "run 1 of 2:" in output
          and f"cargo analyze archive {folders[0]} {folders[1]}" in output,
          "the report is of the first, and what to do next can be copied")
    check(not list(runs.glob("series-*")), "a finished series is forgotten")
    run([BINARY, "archive", *folders, "--into", work / "archive"])
    again = run([BINARY, "archive", folders[0], "--into", work / "archive"], expect=1)
    check("already archived" in again, "runs are archived once")
    [target] = (work / "archive").iterdir()
    output = run([BINARY, "history", target, "--out", work / "history"])
    check("2 runs, expected at least 3" in output
          and len(list((work / "history").glob("history-*.png"))) == 1,
          "a history of two runs is shown, and finds nothing in it")
    compared(folders, target, work)


def alternating(work):
    """Two builds in turns, killed in the second run: continued, with the same sides."""
    runs = work / "turns"
    env = {**SMOKE, "ALPHA_FLOPS_RUNS": str(runs), "NO_COLOR": "1"}
    other = work / "other-alpha-flops"
    shutil.copy(BINARY, other)
    command = [BINARY, "replicate", "--runs", "2", "--alternate", BINARY, other, "^A/"]
    process = subprocess.Popen(list(map(str, command)), env={**os.environ, **env},
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)
    for line in process.stderr:
        if line.startswith("series: run 2 of 4 (B, order 1 of 1, seed 1), about "):
            break
    else:
        sys.exit("FAILED: no second run in turns")
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    output = run(command, env=env, expect=None)
    folders = runs_in(runs)
    sides = [header(folder)["plan"]["side"] for folder in folders]
    paths = [f"A: program {BINARY.absolute()}", f"B: program {other}"]
    check("series: continuing, 1 of 4 runs are measured" in output
          and sides == [paths[0], paths[1], paths[1], paths[0]],
          "two builds take turns, also after a kill, and every record says its side")
    check("runs in turns" in output
          and f"compare {folders[0]} {folders[3]} --after {folders[1]} {folders[2]} --paired" in output
          and (folders[0] / "comparison/comparison.json").exists(),
          "they are compared in pairs")
    check(not list(runs.glob("series-*")), "a finished series in turns is forgotten")
    env["ALPHA_FLOPS_RUNS"] = str(work / "no-turns")
    output = run([*command[:-3], BINARY, work, "^A/"], env=env, expect=1)
    check("no shared library" in output and not (work / "no-turns").exists(),
          "a folder without libraries is refused before anything is measured")


def compared(folders, target, work):
    """What is said of two real runs, of their archived datasets, and of damaged ones."""
    output = run([BINARY, "compare", *folders, "--out", work / "comparison"])
    check("No verdict: one run per side, run-to-run noise unknown" in output
          and "\nslower" not in output, "one run per side gives candidates at most")
    check({f"comparison-{e}.png" for e in "AF"} <= {f.name for f in (work / "comparison").iterdir()},
          "a comparison has a figure an experiment")
    archived = sorted(target.glob("*.csv"))
    output = run([BINARY, "compare", *archived, "--history", target], expect=2)
    check("no two archived runs of one kind" in output,
          "the runs compared are no history of themselves")
    flags = run([BINARY, "variance", *folders, "--out", work / "variance"])
    check("A" in flags and len(list((work / "variance").glob("*.png"))) == 3,
          "how launches vary is shown")
    cut = work / "cut"
    shutil.copytree(folders[0], cut)
    launches = cut / "launches.parquet"
    launches.write_bytes(launches.read_bytes()[:-100])
    for command in (["compare", cut, folders[1]], ["selftest", *folders]):
        output = run([BINARY, *command], expect=2)
        check("cut/launches.parquet" in output or "2 runs are too few" in output,
              f"{command[0]} refuses what it cannot use")
    check("cut/launches.parquet" in run([BINARY, "variance", cut], expect=1),
          "variance names the damaged file")


def criterion_flags(bench, work):
    listed = run([bench, "--bench", "--list"]).splitlines()
    check(sum(line.endswith(": benchmark") for line in listed) == 591, "--list lists 591")
    listed = run([bench, "--bench", "--list", "^D/"]).splitlines()
    check(sum(line.endswith(": benchmark") for line in listed) == 99, "^D/ selects experiment D")
    check("refused" in run([bench, "--bench", "--quick"], expect=1), "--quick is refused")
    env = {**SMOKE, "ALPHA_FLOPS_RUNS": str(work / "flags")}
    check("Success" in run([bench, "--bench", "--test", "^A/.*in=100_"], env=env), "--test works")
    output = run([bench, "--bench", "--test", "^A/.*in=100_"],
                 env={**env, "ALPHA_FLOPS_MEMORY_LIMIT_GIB": "0.00001"})
    check("skipped" in output and "Success" not in output, "--test skips what does not fit")
    run([bench, "--bench", "--ignored"], env=env)
    check(not (work / "flags").exists(), "--test and --ignored keep nothing")
    reader = subprocess.Popen([bench, "--bench", "--list"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
    reader.stdout.close()
    check(reader.stderr.read() == b"" and reader.wait() == 0, "--list may lose its reader")


def bad_input(bench, work):
    """What is wrong is said in a line or two before anything is measured."""
    runs = work / "nothing"
    env = {**SMOKE, "ALPHA_FLOPS_RUNS": str(runs)}
    for arguments, words in [
        (["--color", "foo"], "possible values: auto, always, never"),
        (["--format", "foo"], "possible values: pretty, terse"),
        (["--nresamples", "0"], "num_resamples > 0"),
        (["--nresamples", "18446744073709551615"], "at most 1000000"),
        (["--confidence-level", "2"], "num_confidence_level < 1.0"),
        (["--noise-threshold", "abc"], "invalid float literal"),
        (["--quiet", "--verbose"], "cannot be used with"),
        (["--baseline", "x", "--baseline-lenient", "y"], "cannot be used with"),
        (["("], "unclosed group"),
        (["--save-baseline", ""], "a name that can be a folder's"),
        (["--save-baseline", ".."], "a name that can be a folder's"),
        (["--save-baseline", "a/b"], "a name that can be a folder's"),
        (["--save-baseline", "report"], "criterion keeps its own files"),
        (["--baseline", "never-saved"], "has no baseline `never-saved`"),
        ([b"\xff"], "argument 2, `\ufffd`, is not UTF-8"),
    ]:
        command = [os.fsencode(bench), b"--bench", *map(os.fsencode, arguments)]
        result = subprocess.run(command, env={**os.environ, **env}, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        error = result.stderr.decode()
        if not (result.returncode == 1 and error.startswith("error: ") and words in error
                and "panicked" not in error and error.count("error: ") <= 2):
            sys.exit(f"FAILED: {arguments}: status {result.returncode}\n{error}")
    for variable, value, words in [
        (b"ALPHA_FLOPS_PROFIEL", b"x", "is no setting"),
        (b"ALPHA_FLOPS_PROFILE", b"\xff", "not UTF-8"),
        (b"ALPHA_FLOPS_RUNS", b"", "expected the path of a folder"),
        (b"ALPHA_FLOPS_THREADS", b"100000", "from 1 to 1024"),
        (b"ALPHA_FLOPS_TIME_BUDGET", b"18446744073709551615s", "at most 10 years"),
    ]:
        bad = {**os.environb, **{os.fsencode(n): os.fsencode(v) for n, v in env.items()},
               variable: value}
        result = subprocess.run([bench, "--bench"], env=bad, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        error = result.stderr.decode()
        if result.returncode != 1 or words not in error or variable.decode() not in error:
            sys.exit(f"FAILED: {variable}={value}: status {result.returncode}\n{error}")
    check(not runs.exists(), "bad arguments and settings are named before anything is measured")


def shared_homes(bench, work):
    """Whatever home criterion's users choose, every run's record stands on its own."""
    runs, home, only = work / "shared", work / "criterion-home", "^F/.*out=10_"
    env = {**SMOKE, "ALPHA_FLOPS_RUNS": str(runs), "CRITERION_HOME": "criterion-home"}
    told = work / "finished-run"
    run([bench, "--bench", "--save-baseline", "before", only], cwd=work,
        env={**env, "FINISHED_RUN_OF_ALPHA_FLOPS": str(told)})
    check(told.read_text() == str(runs_in(runs)[0]), "the finished run's folder is told")
    for name in ["new", "before"]:
        samples = list(home.glob(f"F/*/{name}/sample.json"))
        check(len(samples) == 3, f"a relative CRITERION_HOME receives `{name}`")
    # with a limit, what has no baseline because it did not fit then is not asked for now
    output = run([bench, "--bench", "--baseline", "before", f"{only}|^E/"], cwd=work,
                 env={**env, "ALPHA_FLOPS_MEMORY_LIMIT_GIB": "0.00001"})
    check("skipped" in output and "change:" not in output,
          "a baseline is not needed for what is skipped")
    output = run([bench, "--bench", "--baseline", "before", "-s", "then", only], cwd=work, env=env)
    check("change:" in output, "--save-baseline and --baseline compare runs")
    samples = {name: [file.read_bytes() for file in sorted(home.glob(f"F/*/{name}/sample.json"))]
               for name in ["new", "before", "then"]}
    check(samples["then"] == samples["new"] != samples["before"] and len(samples["then"]) == 3,
          "what is compared with one baseline is saved as another")
    check("resuming" not in output, "a finished run is not replayed")
    other = {"ALPHA_FLOPS_PROTOCOL": "throughput", "ALPHA_FLOPS_THREADS": "1"}
    output = run([bench, "--bench", "--baseline", "before", only], cwd=work, expect=1,
                 env={**env, **other})
    check("is not comparable with its baseline `before`: " in output
          and "protocol `host-throughput-50-warm` against `host-latency-warm`" in output,
          "a baseline of another protocol is refused before anything is measured")
    run([bench, "--bench", "--save-baseline", "after", only], cwd=work,
        env={**SMOKE, "ALPHA_FLOPS_RUNS": str(runs), "CARGO_TARGET_DIR": "elsewhere"})
    samples = list((work / "elsewhere/criterion").glob("F/*/after/sample.json"))
    check(len(samples) == 3, "a relative CARGO_TARGET_DIR receives a baseline")
    output = run([bench, "--bench", "--load-baseline", "new", "--baseline", "before", only],
                 cwd=work, env=env)
    check("change:" in output, "--load-baseline compares what is in the shared home")
    measured = [folder for folder in runs_in(runs)
                if any(c["outcome"]["status"] == "measured"
                       for c in header(folder)["configurations"])]
    for folder in measured:
        output = run([BINARY, "import", "criterion", folder, "--out", work / "shared.csv"])
        if "3 configurations" not in output:
            sys.exit(f"FAILED: import of {folder}\n{output}")
    check(len(measured) == 3, "all runs with one CRITERION_HOME, and with another, are imported")


def orphans(bench):
    """Criterion ends with the process that started it."""
    env = {**os.environ, **SMOKE}
    process = subprocess.Popen([bench, "--bench", "--profile-time", "60", "^A/.*in=100_"], env=env,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    line = process.stderr.readline()
    if "Benchmarking" not in line:
        sys.exit(f"FAILED: expected criterion's progress, got {line!r}")
    start = time.monotonic()
    process.kill()
    # the orphan holds the other end of the pipe until it ends
    process.stderr.read()
    process.wait()
    check(time.monotonic() - start < 30, "criterion ends with the process that started it")


def killed_and_resumed(bench, work):
    env = {**SMOKE, "ALPHA_FLOPS_EXPERIMENTS": "A,B,C,D"}
    whole, killed = work / "whole", work / "killed"
    start = time.monotonic()
    run([bench, "--bench"], env={**env, "ALPHA_FLOPS_RUNS": str(whole)})
    took = time.monotonic() - start
    env["ALPHA_FLOPS_RUNS"] = str(killed)
    for _ in range(3):
        process = subprocess.Popen([bench, "--bench"], env={**os.environ, **env},
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   start_new_session=True)
        # there is nothing to resume before the first configuration is recorded
        while not list(killed.glob("*/parts/*")) and process.poll() is None:
            time.sleep(0.05)
        time.sleep(took * random.uniform(0.04, 0.15))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    output = run([bench, "--bench"], env=env)
    check("resuming the unfinished run" in output, "a killed run resumes and says so")
    [folder], [reference] = runs_in(killed), runs_in(whole)
    check(form(folder) == form(reference), "killed three times, its record is of the same form")
    run([BINARY, "import", "criterion", folder, "--out", work / "killed.csv"])


def damaged_files(sound, work):
    ids = [c["id"] for c in header(sound)["configurations"]]
    for name, damage, words in [
        ("cut", lambda path: path.write_text(path.read_text()[:40]), "sample.json"),
        ("missing", lambda path: path.unlink(), "sample.json"),
        ("zero", lambda path: path.write_text(re.sub(r'"times":\[[^,]*', '"times":[0.0',
                                                     path.read_text())), "is 0, expected finite"),
        ("nan", lambda path: path.write_text(re.sub(r'"times":\[[^,]*', '"times":[NaN',
                                                    path.read_text())), "sample.json"),
        ("null", lambda path: path.write_text(re.sub(r'"times":\[[^,]*', '"times":[null',
                                                     path.read_text())), "expected finite"),
    ]:
        copy = work / f"damaged-{name}"
        shutil.copytree(sound, copy)
        damage(copy / "criterion" / ids[5] / "new" / "sample.json")
        output = run([BINARY, "import", "criterion", copy, "--out", copy / "out.csv"], expect=1)
        rows = (copy / "out.csv").read_text(encoding="utf-8").count("\n") - 1
        check(words in output and ids[5] in output and rows == len(ids) - 1,
              f"a {name} sample is left out by name, the others go on, the status says so")
    output = run([BINARY, "import", "criterion", work, "--out", work / "x.csv"], expect=1)
    check("hint" in output, "a folder that is no run gives a hint")


def too_large(bench, work):
    env = {**SMOKE, "ALPHA_FLOPS_RUNS": str(work / "small"), "ALPHA_FLOPS_MEMORY_LIMIT_GIB": "0.01"}
    output = run([bench, "--bench", "^A/"], env=env)
    outcomes = [c["outcome"] for c in header(runs_in(work / "small")[0])["configurations"]]
    skipped = [o["reason"] for o in outcomes if o["status"] == "skipped"]
    check(0 < len(skipped) < len(outcomes) and "memory_limit_gib allows" in skipped[0]
          and output.count("skipped") >= len(skipped),
          "what does not fit in memory is skipped and listed, the rest goes on")


def unwritable_and_full(bench, work):
    (work / "a-file").write_text("")
    output = run([bench, "--bench"], expect=1,
                 env={**SMOKE, "ALPHA_FLOPS_RUNS": str(work / "a-file")})
    check("a-file" in output and "panicked" not in output, "an unwritable folder is named")
    disk = work / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, stderr=subprocess.DEVNULL).returncode != 0:
        print("skipped: a full disk (mounting a small tmpfs is not permitted here)")
        return
    try:
        env = {**SMOKE, "ALPHA_FLOPS_RUNS": str(disk), "ALPHA_FLOPS_EXPERIMENTS": "A,C"}
        output = run([bench, "--bench"], expect=1, env=env)
        check("free some space" in output and "panicked" not in output,
              "a full disk is an error that says what to do")
        run(["mount", "-o", "remount,size=64m", str(disk)])
        output = run([bench, "--bench"], env=env)
        check("resuming" in output, "with space again, the run resumes")
        check(header(runs_in(disk)[0])["status"] == "finished", "and finishes")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def criterion_cost(bench, work):
    env = {"ALPHA_FLOPS_PROFILE": "paper", "ALPHA_FLOPS_PASSES": "1",
           "ALPHA_FLOPS_RUNS": str(work / "cost")}
    output = run([bench, "--bench", "^A/.*(in=100_|in=200_)"], env=env)
    print([line for line in output.splitlines() if line.startswith("criterion: ")][0],
          "(2,000 launches each)")


def analysis_commands(sound, work):
    dataset, coefficients = work / "dataset.parquet", work / "coefficients.json"
    run([BINARY, "import", "criterion", sound, "--out", dataset])
    fit = json.loads(run([BINARY, "fit", dataset, "--s-k", "side", "--flops", "macs",
                          "--format", "json", "--out", coefficients]))
    groups = [fit["k_equal_1"], fit["k_above_1"]]
    check(all({"beta", "gamma", "final", "rmse_ms", "n"} <= set(group) for group in groups)
          and sum(group["n"] for group in groups) == 69, "fit gives both groups as JSON")
    evaluation = json.loads(run([BINARY, "evaluate", dataset, "--coefficients", coefficients,
                                 "--format", "json"]))
    total = sum(group["n"] * group["rmse_ms"] ** 2 for group in groups)
    overall = evaluation["overall"]
    check(abs(overall["rmse_ms"] - (total / 69) ** 0.5) < 1e-9 * overall["rmse_ms"],
          "evaluate finds the error that fit reports")
    listed = json.loads(run([BINARY, "experiments", "--resolution", "full", "--format", "json"]))
    check(len(listed) == 9105, "experiments lists 9,105 at full resolution")


def original_study(work):
    pickle = ROOT / "../shared/data/asperti-quadro-t2000/data.pickle"
    if not pickle.exists():
        print("skipped: the original study's data is not beside this checkout")
        return
    dataset = work / "asperti.csv"
    run([BINARY, "import", "asperti", pickle, "--out", dataset])
    evaluation = json.loads(run([BINARY, "evaluate", dataset, "--coefficients", "published-t2000",
                                 "--format", "json"]))
    overall = evaluation["overall"]
    check(overall["n"] == 721 and round(overall["rmse_ms"], 4) == 0.6474,
          "published coefficients on the original data: RMSE 0.6474 ms over 721 points")
    fit = json.loads(run([BINARY, "fit", dataset, "--s-k", "area", "--flops", "macs",
                          "--format", "json"]))
    check(fit["k_equal_1"]["n"] + fit["k_above_1"]["n"] == 721, "fit takes all 721 points")
    run([BINARY, "report", dataset, "--s-k", "area", "--out", work / "asperti-report"])
    check("Quadro T2000" in (work / "asperti-report/report.md").read_text(encoding="utf-8"),
          "the report of the original data names its GPU")


def where_results_go(work):
    """In a checkout, where cargo has its target folder, whatever else cargo is told."""
    def home(env, cwd=ROOT):
        output = run([BINARY, "bench", "--baseline", "none", "^F/.*out=10_"], cwd=cwd, expect=1,
                     env={**SMOKE, "ALPHA_FLOPS_RUNS": str(work / "none"), **env})
        return Path(re.search("has no baseline `none` in (.*)", output)[1])

    usual = ROOT / TARGET / "criterion"
    check(home({}) == home({}, ROOT / "src/bench") == home({}, work)
          == home({"CARGO_BUILD_BUILD_DIR": "elsewhere", "CARGO_BUILD_TARGET": "wasm32-wasip1"})
          == usual, "results go to the target folder, from any folder and with any build settings")
    check(home({"CARGO_TARGET_DIR": str(work / "target")}) == work / "target/criterion",
          "CARGO_TARGET_DIR moves them")
    check(home({"CARGO": "/nonexistent", "PATH": "/nonexistent"}) == ROOT / "target/criterion",
          "without cargo, they go to the checkout's own target folder")


def alone(work):
    """The program by itself: no cargo, no Rust, no checkout."""
    folder = work / "alone"
    folder.mkdir()
    shutil.copy(BINARY, folder)
    clean = ["env", "-i", "PATH=/nonexistent", "ALPHA_FLOPS_PROFILE=smoke",
             "ALPHA_FLOPS_BACKEND=cpu", "./alpha-flops"]

    def by_itself(*arguments, expect=0):
        return run([*clean, *arguments], expect=expect, cwd=folder)

    listed = by_itself("bench", "--list").splitlines()
    check(sum(line.endswith(": benchmark") for line in listed) == 69,
          "the program alone lists the configurations of its profile")
    check("Usage: alpha-flops bench" in by_itself("bench", "--help"), "it has help on `bench`")
    check("refused" in by_itself("bench", "--quick", expect=1)
          and "unexpected argument" in by_itself("bench", "--quik", expect=2),
          "and refuses what `cargo bench` does")
    output = by_itself("replicate", "--sweep-budget", "3s", "^[AF]/")
    runs = folder / "alpha-flops-runs"
    [measured] = runs_in(runs)
    check(header(measured)["status"] == "finished" and (measured / "report/report.md").exists()
          and str(measured / "report") in output,
          "it measures, replays and reports, in ./alpha-flops-runs")
    by_itself("bench", "--save-baseline", "before", "^F/.*out=10_")
    output = by_itself("bench", "--baseline", "before", "^F/.*out=10_")
    check("change:" in output and len(list((runs / "criterion/F").glob("*/before"))) == 3,
          "baselines are beside the runs")
    by_itself("sweep", "--grid", "published", "--budget", "3s", "--out", "sweep")
    by_itself("import", "sweep", "sweep", "--out", "sweep.csv")
    by_itself("import", "criterion", measured, "--out", "run.csv")
    by_itself("fit", "sweep.csv", "--s-k", "side", "--flops", "macs")
    by_itself("report", "run.csv", "--fit-to", "sweep.csv", "--out", "report")
    check((folder / "report/report.md").exists(), "and analyses")
    check("--into" in by_itself("archive", measured, expect=1)
          and "target-data" in by_itself("history", "a-target", expect=1),
          "without a checkout, archives are asked for")
    by_itself("archive", measured, "--into", "archive")
    [target] = (folder / "archive").iterdir()
    by_itself("history", target)


def other_than_utf_8(work):
    """Paths that are not UTF-8 work, or are refused before anything is measured."""
    garbled = os.fsdecode(b"\xff")
    folder = work / garbled
    folder.mkdir()
    env = {**SMOKE, "ALPHA_FLOPS_RUNS": f"runs-{garbled}", "CRITERION_HOME": f"home-{garbled}"}
    runs = folder / f"runs-{garbled}"
    refused = run([BINARY, "replicate", "--sweep-budget", "3s", "^[AF]/"], env=env, cwd=folder, expect=1)
    check("not UTF-8" in refused and not runs.exists(),
          "the main job, which keeps the paths of its runs, is refused there before anything is measured")
    run([BINARY, "bench", "^[AF]/"], env=env, cwd=folder)
    [measured] = runs_in(runs)
    check(len(list((folder / f"home-{garbled}/F").glob("*/new/sample.json"))) >= 3,
          "measurements work in folders whose names are not UTF-8")
    run([BINARY, "import", "criterion", measured, "--out", f"{garbled}.csv"], cwd=folder)
    run([BINARY, "sweep", "--grid", "published", "--budget", "2s", "--out", f"sweep-{garbled}"],
        env=env, cwd=folder)
    run([BINARY, "import", "sweep", f"sweep-{garbled}", "--out", "sweep.parquet"], cwd=folder)
    run([BINARY, "report", f"{garbled}.csv", "--out", f"report-{garbled}"], cwd=folder)


def sweeps(work):
    env = {**SMOKE, "ALPHA_FLOPS_BACKEND": "cpu"}
    shards = [work / "shard-1", work / "shard-2"]
    commands = [[BINARY, "sweep", "--grid", "published", "--budget", "6s", "--shard", f"{i}/2",
                 "--out", str(folder)] for i, folder in enumerate(shards, 1)]
    interrupted_sweep(commands[0], shards[0], env, kill_after=2.5)
    refused = run([*commands[0], "--seed", "2"], env=env, expect=1)
    check("seed is 1 there, 2 here" in refused, "another seed is refused")
    missing = run([BINARY, "sweep", "merge", str(shards[0]), "--out", str(work / "no")], expect=1)
    check("shard 2/2 missing" in missing, "a missing shard is named")
    run(commands[1], env=env)
    run([BINARY, "sweep", "merge", *map(str, shards), "--out", str(work / "merged")])
    run([BINARY, "import", "sweep", str(work / "merged"), "--out", str(work / "merged.csv")])
    for folder in shards:
        run([BINARY, "import", "sweep", str(folder), "--out", f"{folder}.csv"])
    each = sum(len(rows(Path(f"{folder}.csv"))) for folder in shards)
    check(len(rows(work / "merged.csv")) == each > 20, "merged, shards have all their rows")


def main():
    # whatever else this machine has
    os.environ["ALPHA_FLOPS_BACKEND"] = "cpu"
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        sound = main_job(work)
        interrupted_series(work)
        alternating(work)
        bench = bench_binary()
        analysis_commands(sound, work)
        damaged_files(sound, work)
        criterion_flags(bench, work)
        bad_input(bench, work)
        shared_homes(bench, work)
        orphans(bench)
        killed_and_resumed(bench, work)
        too_large(bench, work)
        unwritable_and_full(bench, work)
        original_study(work)
        sweeps(work)
        where_results_go(work)
        alone(work)
        other_than_utf_8(work)
        criterion_cost(bench, work)


main()
