"""Batches through torch's DataLoader, for the tests that a dataset is the same whatever the workers."""

import numpy as np
from torch.utils.data import DataLoader


def batches(dataset, workers: int, start: str = "fork") -> list[dict[str, np.ndarray]]:
    """All batches of two, in order, as numpy arrays."""
    context = {"multiprocessing_context": start} if workers else {}
    loader = DataLoader(dataset, batch_size=2, num_workers=workers, drop_last=True, **context)
    return [{name: value.numpy() for name, value in batch.items()} for batch in loader]


def assert_same_for_any_workers(dataset) -> None:
    """0, 1 and 2 forked workers and a spawned one give the same batches."""
    alone = batches(dataset, 0)
    assert len(alone) == len(dataset) // 2
    for workers, start in ((1, "fork"), (2, "fork"), (1, "spawn")):
        others = batches(dataset, workers, start)
        assert len(others) == len(alone)
        for first, second in zip(alone, others, strict=True):
            assert first.keys() == second.keys()
            for name in first:
                np.testing.assert_array_equal(first[name], second[name])
