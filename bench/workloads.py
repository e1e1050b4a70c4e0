"""Models for which batching is worth very different things, and what their clients send: one row a request."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import models
import numpy as np

MIXED = 256


def mixed_lengths(median=32, sigma=0.6, shortest=4, longest=128):
    """Tokens of MIXED requests, lognormal."""
    drawn = np.random.default_rng(1).lognormal(np.log(median), sigma, MIXED)
    return tuple(int(length) for length in np.clip(drawn, shortest, longest))


@dataclass(frozen=True)
class Workload:
    make: Callable[[Path], None]
    datatype: str
    rows: tuple[tuple[int, ...], ...]
    """Shapes of the rows that clients send in turns."""

    def inputs(self, rows, row):
        """A batch of `rows` rows of shape `row`."""
        rng = np.random.default_rng(1)
        whole = self.datatype == "INT64"
        return rng.integers(0, 1000, (rows, *row)) if whole else rng.random((rows, *row), np.float32)

    def requests(self):
        """Each a (1, *row) array, in the order in which clients send them."""
        return [self.inputs(1, row) for row in self.rows]


WORKLOADS = {
    # Streams 20 MB of weights whatever the batch: a row alone takes 10 times as long as one of 64.
    "gemm": Workload(lambda path: models.mlp(path, *[1024] * 6), "FP32", ((1024,),)),
    "encoder": Workload(
        lambda path: models.encoder(path, tokens="tokens"), "INT64", tuple((length,) for length in mixed_lengths())
    ),
    # A row costs the same in any batch.
    "cnn": Workload(lambda path: models.convolutions(path, 32, 64, 128), "FP32", ((3, 32, 32),)),
    # The run is cheaper than the request's way to it.
    "tiny": Workload(lambda path: models.mlp(path, 64, 64, 8), "FP32", ((64,),)),
}

ON_GPU = {
    # 400 MB of weights.
    "gemm-large": Workload(lambda path: models.mlp(path, *[4096] * 7), "FP32", ((4096,),)),
    # As large as BERT's base: 85 million weights.
    "encoder-large": Workload(
        lambda path: models.encoder(path, width=768, layers=12, heads=12, tokens="tokens"),
        "INT64",
        tuple((length,) for length in mixed_lengths()),
    ),
    "cnn-large": Workload(lambda path: models.convolutions(path, 128, 256, 512, 512), "FP32", ((3, 32, 32),)),
}
"""For which a CPU is too slow."""
