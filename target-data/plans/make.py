#!/usr/bin/env python3
"""Makes the files of plans in this folder, by cuDNN's releases for CUDA 12 from PyPI.

    cargo build --release -p alpha-flops-analysis
    cargo build -p link-only-libcuda
    python3 target-data/plans/make.py [--versions 9.10.2.21 …] [--devices rtx4090 …] [--math tf32 …]

Nothing is launched, and no GPU is needed. Wheels are unpacked under target/plans (1.2 GB a version); NVIDIA's licence
allows that use, but not to pass them on. A file that is there is kept.
"""

import argparse
import itertools
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
# 9.8 knows devices by their properties, 9.10.2 comes with PyTorch 2.8 to 2.10
VERSIONS = ["9.8.0.87", "9.10.2.21", "9.14.0.64", "9.20.0.48", "9.28.0.42"]
CUBLAS = "nvidia-cublas-cu12==12.9.3.13"
DEVICES = ["t4", "a100", "rtx3090", "rtx4090", "h100", "b200", "rtx5090"]
WANTED = re.compile(r"nvidia/(cudnn/lib/libcudnn(?!_adv)|cublas/lib/libcublasLt\.)")


def unpacked(requirement):
    """The folder that a wheel's libraries are in."""
    folder = TARGET / "plans" / requirement
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as partial:
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
                        "--no-cache-dir", "--disable-pip-version-check", "--dest", partial, requirement], check=True)
        [wheel] = Path(partial).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for name in filter(WANTED.match, archive.namelist()):
                archive.extract(name, Path(partial) / "unpacked")
        (Path(partial) / "unpacked").rename(folder)
    return folder


def plans(version, device, math, env):
    short = ".".join(version.split(".")[:3])
    out = HERE / f"cudnn-{short}-{device}-{math}.parquet"
    if not out.exists():
        library = unpacked(f"nvidia-cudnn-cu12=={version}") / "nvidia/cudnn/lib"
        command = [TARGET / "release/alpha-flops", "plans", "--device", device, "--cudnn", library, "--math", math,
                   "--out", out]
        # cuDNN names every function of the driver that it does not find
        subprocess.run(command, env=env, stderr=subprocess.DEVNULL, check=True)
    print(f"{out.name}: {out.stat().st_size} bytes", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", nargs="+", default=VERSIONS)
    parser.add_argument("--devices", nargs="+", default=DEVICES)
    parser.add_argument("--math", nargs="+", default=["tf32", "fp32"])
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    link_only = TARGET / "plans/link-only"
    link_only.mkdir(parents=True, exist_ok=True)
    (link_only / "libcuda.so.1").write_bytes((TARGET / "debug/liblink_only_libcuda.so").read_bytes())
    cublas = unpacked(CUBLAS) / "nvidia/cublas/lib"
    paths = [link_only, cublas, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    env = {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(map(str, paths))}
    # one after the other: all of a version's need it unpacked
    for version in arguments.versions:
        unpacked(f"nvidia-cudnn-cu12=={version}")
    every = itertools.product(arguments.versions, arguments.devices, arguments.math)
    with ThreadPoolExecutor(max_workers=arguments.jobs) as pool:
        for done in [pool.submit(plans, *one, env) for one in every]:
            done.result()


main()
