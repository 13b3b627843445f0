"""Writes convolutions.json: outputs of PyTorch's conv2d with padding="same", kernels 1 to 30.

    python3 tests/goldens/convolutions.py

Needs `pip install torch`. Inputs and weights are multiples of 1/8 given by a formula that the test
repeats, so every sum is an exact multiple of 1/64 in float32 and float64 alike, whatever the order
of summation. Outputs are stored as integers, in units of 1/64, and of large outputs a checksum.
"""

import json
import pathlib

import torch


def values(count, step):
    """((i * step + 3) mod 13 - 6) / 8 for i in 0..count."""
    index = torch.arange(count, dtype=torch.float64)
    return (torch.remainder(index * step + 3, 13) - 6) / 8


def shapes():
    """(height, width, in_channels, out_channels, kernel): images larger, narrower, flatter and
    smaller than the kernel, and never as many channels in as out."""
    for kernel in range(1, 31):
        yield kernel + 2, kernel + 1, 1, 2, kernel
        yield 5, 3, 4, 3, kernel
        yield 2, 17, 2, 3, kernel
        yield 11, 1, 3, 1, kernel


def large_shapes():
    """More pixels, channels and terms than the CPU backend computes at once, none a multiple of its
    tiles."""
    yield 43, 61, 175, 7, 4
    yield 9, 10, 60, 470, 9
    yield 20, 55, 60, 13, 3
    yield 40, 61, 19, 23, 1
    yield 1, 3, 1100, 601, 1


def output_times_64(height, width, in_channels, out_channels, kernel):
    x = values(in_channels * height * width, 7).reshape(1, in_channels, height, width)
    w = values(out_channels * in_channels * kernel**2, 5)
    w = w.reshape(out_channels, in_channels, kernel, kernel)
    y = torch.nn.functional.conv2d(x, w, padding="same")
    assert y.shape == (1, out_channels, height, width)
    y64 = y.flatten() * 64
    assert torch.equal(y64, y64.round()), "sums are exact"
    return y64.long()


def checksum(output):
    """The sum of all values, each times a factor that changes with its place."""
    return int((output * torch.remainder(torch.arange(len(output)) * 31 + 7, 1009)).sum())


def shape_id(height, width, in_channels, out_channels, kernel):
    return f"h={height}_w={width}_in={in_channels}_out={out_channels}_k={kernel}"


def lines(dictionaries):
    return ",\n".join(json.dumps(d, separators=(",", ":")) for d in dictionaries)


def main():
    goldens = [{"shape": shape_id(*s), "output_times_64": output_times_64(*s).tolist()}
               for s in shapes()]
    checksums = [{"shape": shape_id(*s), "checksum": checksum(output_times_64(*s))}
                 for s in large_shapes()]
    header = json.dumps({"torch": torch.__version__})[:-1]
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(f'{header}, "convolutions": [\n{lines(goldens)}\n], '
                    f'"checksums": [\n{lines(checksums)}\n]}}\n')


if __name__ == "__main__":
    main()
