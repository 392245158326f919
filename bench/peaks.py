"""What this CPU reaches at best: FLOP/s of a large matrix product by number format, and bytes a second from memory.

Prints the overrides with which utilisation (MFU, MBU) and the roofline are drawn on a machine whose data sheet is not
known. They are what was reached here and not what the maker promises: a share of them is a share of the attainable.
"""

from __future__ import annotations

import argparse
import time

import torch

from bench.bandwidth import read_bandwidth

SIZE, TIMES = 4096, 5
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def matmul_flops(dtype: torch.dtype, size: int = SIZE, times: int = TIMES) -> float:
    """FLOP/s of the fastest of some products of two square matrices, after one that warms up."""
    a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
    out = torch.empty(size, size, dtype=dtype)
    seconds = []
    for _ in range(times + 1):
        started = time.perf_counter()
        torch.mm(a, b, out=out)
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds[1:])


def main() -> None:
    """Print the overrides."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print(f"# on {torch.get_num_threads()} threads")
    for name, dtype in DTYPES.items():
        print(f"hardware.peak_flops.{name}={matmul_flops(dtype):.3g}")
    print(f"hardware.memory_bandwidth_bytes_per_s={read_bandwidth():.3g}")


if __name__ == "__main__":
    main()
