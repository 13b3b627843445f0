"""The lines of experiments A-G, by Python's own ranges and rounding.

python3 tests/goldens/experiments.py > tests/goldens/experiments.csv
"""


def lines(original):
    ch = [10, *range(20, 641, 20)] if original else range(1, 650)
    for h, w, i, o in [(1, 2, 100, 50), (2, 2, 50, 50), (4, 4, 25, 25)]:
        yield f"A,H×W = {h}×{w}", [(h, w, i * 2**x, o * 2**x, 1) for x in range(0, 9)]
    for c in [50, 70, 100, 150]:
        yield f"B,C = {c}", [(round(300 / k), round(300 / k), c, c, k) for k in range(1, 31)]
    for r in [1500, 2100, 3000, 4500]:
        yield f"C,C·K = {r}", [(10, 10, round(r / k), round(r / k), k) for k in range(1, 31)]
    for i in [50, 100, 150]:
        yield f"D,C_in = {i}", [(100, w, i, 100, 3) for w in ch]
    for i in [50, 100, 150]:
        yield f"E,C_in = {i}", [(100, 100, i, o, 3) for o in ch]
    for h in [100, 200, 300]:
        yield f"F,H = {h}", [(h, 100, 50, o, 1) for o in ch]
    for k in [1, 3, 5]:
        cin = range(100, 1000, 100) if original else range(1, 1000)
        yield f"G,K = {k}", [(10, 10, i, 1000, k) for i in cin]


def fnv1a(text):
    """FNV-1a, 64 bits: any changed, missing or reordered id changes it."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"{value:016x}"


print("resolution,experiment,series,n,macs,ids_fnv1a")
for name, original in [("full", False), ("original", True)]:
    for line, shapes in lines(original):
        macs = sum(h * w * i * o * k * k for h, w, i, o, k in shapes)
        ids = "".join(
            f"{line[0]}/h={h}_w={w}_in={i}_out={o}_k={k}\n" for h, w, i, o, k in shapes
        )
        print(f"{name},{line},{len(shapes)},{macs},{fnv1a(ids)}")
