#!/usr/bin/env python3
"""Datasets that pandas, polars and DuckDB have read and written are read as before.

    python3 .ci/other_tools.py --binary target/debug/alpha-flops

Makes an environment of its own from PyPI in target/other-tools, and says that it skipped where that
cannot be reached. In it, a dataset of the tests is written by each tool with each of its compressions,
and with the types that these tools make of its columns. Every command that takes a dataset has to give
the same of all of them.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "target" / "other-tools"
TOOLS = ["pandas", "pyarrow", "polars", "duckdb"]
# of these, what takes longer is done, too
SOME = ["pandas-from-csv", "pandas-nullable", "polars-zstd", "duckdb-decimal"]
RUN = ROOT / "tests/frozen/fixtures/measured/1"


def in_environment() -> None:
    """Runs this script again in an environment that has the tools."""
    python = WORK / "venv/bin/python"
    installed = [python, "-c", "import " + ", ".join(TOOLS)]
    if not python.exists() or subprocess.run(installed, stderr=subprocess.DEVNULL).returncode:
        subprocess.run([sys.executable, "-m", "venv", WORK / "venv"], check=True)
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--timeout", "5", "--retries", "1", "install"]
        if subprocess.run([*pip, "--quiet", *TOOLS]).returncode:
            print("skipped: pandas, pyarrow, polars and duckdb cannot be installed from PyPI")
            sys.exit(0)
    sys.exit(subprocess.run([python, __file__, "--inside", *sys.argv[1:]]).returncode)


def files(original: Path, folder: Path, of_dataset: bool = True) -> list[Path]:
    """A file as each tool writes it."""
    import duckdb
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = []

    def path(name: str) -> Path:
        made.append(folder / f"{name if of_dataset else name + '-launches'}.parquet")
        return made[-1]

    text = original.with_suffix(".csv")
    frame = pd.read_parquet(original)
    table = pq.read_table(original)
    polar = pl.read_parquet(original)
    for compression in ["none", "snappy", "gzip", "brotli", "lz4", "zstd"]:
        frame.to_parquet(path(f"pandas-{compression}"), compression=None if compression == "none" else compression)
    for compression in ["uncompressed", "snappy", "gzip", "brotli", "lz4", "zstd"]:
        polar.write_parquet(path(f"polars-{compression}"), compression=compression)
    base = duckdb.read_parquet(str(original))
    for compression in ["uncompressed", "snappy", "gzip", "brotli", "lz4", "lz4_raw", "zstd"]:
        duckdb.execute(f"COPY base TO '{path(f'duckdb-{compression}')}' (FORMAT parquet, COMPRESSION {compression})")

    if not of_dataset:
        return made

    # what the tools make of the columns
    pd.read_csv(text).to_parquet(path("pandas-from-csv"))
    pl.read_csv(text, infer_schema_length=None).write_parquet(path("polars-from-csv"))
    duckdb.execute(f"COPY (FROM read_csv('{text}')) TO '{path('duckdb-from-csv')}' (FORMAT parquet)")
    frame.convert_dtypes().to_parquet(path("pandas-nullable"))
    frame.set_index(pd.Index([n * n for n in range(len(frame))])).to_parquet(path("pandas-index"))
    frame.assign(note="mine", day=pd.Timestamp("2026-01-31")).to_parquet(path("pandas-more-columns"))
    frame[sorted(frame.columns, reverse=True)].to_parquet(path("pandas-other-order"))
    texts = [name for name in frame if frame[name].dtype.kind not in "fiu"]
    frame.astype({name: "category" for name in texts}).to_parquet(path("pandas-category"))
    wholes = ["height", "width", "in_channels", "out_channels", "kernel"]
    for kind in ["int16", "int32", "uint16", "uint32", "uint64", "float64"]:
        frame.astype({name: kind for name in wholes}).to_parquet(path(f"pandas-{kind}"))
    for name, kind in [("large-string", pa.large_string()), ("string-view", pa.string_view()),
                       ("dictionary", pa.dictionary(pa.int32(), pa.string()))]:
        fields = [field.with_type(kind) if field.name in texts else field for field in table.schema]
        pq.write_table(table.cast(pa.schema(fields)), path(f"pyarrow-{name}"))
    decimal = duckdb.sql("SELECT * REPLACE (x::DECIMAL(9, 3) AS x, height::DECIMAL(18, 0) AS height, "
                         "width::DECIMAL(30, 2) AS width, kernel::UTINYINT AS kernel) FROM base")
    decimal.write_parquet(str(path("duckdb-decimal")))
    polar.with_columns(pl.col(texts).cast(pl.Categorical)).write_parquet(path("polars-categorical"))
    polar.with_columns(pl.col("x").cast(pl.Int64)).write_parquet(path("polars-whole-x"))
    pq.write_table(table, path("pyarrow-v2-pages"), data_page_version="2.0", compression="zstd", row_group_size=100)
    pq.write_table(table, path("pyarrow-plain"), use_dictionary=False, write_page_checksum=True)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.inside:
        in_environment()
    binary = args.binary.resolve()

    def run(*arguments) -> str:
        done = subprocess.run([binary, *map(str, arguments)], capture_output=True, text=True, cwd=WORK)
        if done.returncode:
            sys.exit(f"{' '.join(map(str, arguments))}: status {done.returncode}\n{done.stderr}")
        notes = [line for line in done.stderr.splitlines() if line.startswith("note: ") and "ignored columns" in line]
        expected = {"pandas-index": ["__index_level_0__"], "pandas-more-columns": ["note", "day"]}
        names = expected.get(Path(arguments[1]).stem, [])
        if len(notes) != bool(names) or not all(f'"{name}"' in notes[0] for name in names):
            sys.exit(f"{arguments[1]}: expected one note on {names}, got {notes}")
        return done.stdout

    WORK.mkdir(parents=True, exist_ok=True)
    original = WORK / "original.parquet"
    for name in [original, original.with_suffix(".csv")]:
        name.unlink(missing_ok=True)
        run("import", "criterion", RUN, "--out", name)
    made = files(original, WORK)

    fitting = ["--s-k", "side", "--flops", "macs", "--format", "json"]
    of_all = [["fit", *fitting], ["evaluate", "--coefficients", "published-t2000", "--format", "json"]]
    of_some = [["crossvalidate", *fitting, "--leave-out", "fold"], ["uncertainty", *fitting, "--refits", "20"],
               ["report", "--out", WORK / "report", "--format", "json"]]
    some = [file for file in made if file.stem in SOME]
    for commands, datasets in [(of_all, made), (of_some, some)]:
        for command, *arguments in commands:
            expected = run(command, original, *arguments)
            for dataset in datasets:
                if run(command, dataset, *arguments).replace(dataset.name, original.name) != expected:
                    sys.exit(f"{command} of {dataset} is not as of the original")
            print(f"{command}: equal of {len(datasets)} files")

    run_folder = WORK / "run"
    shutil.copytree(RUN, run_folder, dirs_exist_ok=True)
    expected = run("evaluate", run_folder, *of_all[1][1:])
    launches = files(RUN / "launches.parquet", WORK, of_dataset=False)
    for file in launches:
        shutil.copy(file, run_folder / "launches.parquet")
        if run("evaluate", run_folder, *of_all[1][1:]) != expected:
            sys.exit(f"evaluate of a run with {file} is not as of the original")
    print(f"evaluate of a run: equal of {len(launches)} files of launches")


if __name__ == "__main__":
    main()
