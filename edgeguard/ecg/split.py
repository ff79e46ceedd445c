"""Train, validation and test parts: seeded, stratified, and never a duplicate on two sides."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeguard.ecg.dataset import Dataset
from edgeguard.errors import InputError

FRACTIONS = (0.8, 0.1, 0.1)
CINC_TIMES = {"N": 1, "A": 2, "O": 1, "~": 6}
"""How often an epoch takes each training record of a class of CinC 2017 (Han et al. 2020)."""
_PART_OF_LARGEST, _MOST_TIMES = 3, 6


@dataclass(frozen=True)
class Split:
    """Record indices of the three parts, each sorted, and what they were made from."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    seed: int
    fractions: tuple[float, float, float]

    def names(self, dataset: Dataset) -> dict[str, list[str]]:
        """Record names of each part."""
        return {part: [dataset.names[i] for i in getattr(self, part)] for part in ("train", "validation", "test")}


def split(
    dataset: Dataset,
    *,
    seed: int = 0,
    fractions: tuple[float, float, float] = FRACTIONS,
    test_records: Sequence[str] | None = None,
) -> Split:
    """Divide a data set, class by class, keeping records of equal content together.

    Args:
        seed: of the permutation; the same seed on the same data gives the same parts.
        fractions: shares of train, validation and test; they sum to 1.
        test_records: names that make up the test part exactly; the rest is divided between train and
            validation in the proportion of their fractions, without records of a test record's content.

    Raises InputError for fractions that do not sum to 1, a test record that the data lack, or an empty part.
    """
    if min(fractions) < 0 or fractions[0] == 0 or abs(sum(fractions) - 1) > 1e-9:
        raise InputError(f"split fractions {fractions} must not be negative, train not 0, and sum to 1")
    fixed = [] if test_records is None else _positions(dataset, test_records)
    taken = {dataset.content[i] for i in fixed}
    rng = np.random.default_rng(seed)
    parts: tuple[list[int], list[int], list[int]] = ([], [], list(fixed))
    edges = np.cumsum(fractions)[:2]
    if test_records is not None:
        edges = edges / edges[1]
    groups: dict[str, list[int]] = {}
    for i, digest in enumerate(dataset.content):
        if digest not in taken:
            groups.setdefault(digest, []).append(i)
    for label in range(len(dataset.classes)):
        members = [group for group in groups.values() if dataset.labels[group[0]] == label]
        order = rng.permutation(len(members))
        bounds = np.rint(edges * len(members)).astype(int)
        for place, g in enumerate(order):
            parts[int(np.searchsorted(bounds, place, side="right"))].extend(members[g])
    train, validation, test = (np.sort(np.asarray(part, np.int64)) for part in parts)
    result = Split(train, validation, test, seed, fractions)
    for name in ("train", "validation", "test"):
        if len(getattr(result, name)) == 0:
            raise InputError(f"{dataset.source}: {len(dataset)} records leave the {name} part empty; add records")
    return result


def split_from(dataset: Dataset, config: dict[str, Any]) -> Split:
    """The split of a run or a file, from its `split` entry {seed, fractions, test_records}."""
    first, second, third = config["fractions"]
    return split(
        dataset,
        seed=config["seed"],
        fractions=(first, second, third),
        test_records=config.get("test_records"),
    )


def oversample(dataset: Dataset, index: np.ndarray) -> np.ndarray:
    """`index` with the extra copies of rare classes appended (for training records only).

    Records of N, A, O and ~, in whatever order, follow Han et al. (2020): AF twice, Noise six times. Any other list of
    classes: a class is taken as often as keeps it within a third of the largest one, at most six times; at the
    proportions of CinC 2017 that is the same. No class is copied beyond the size of the largest one.
    """
    labels = dataset.labels[index]
    counts = np.bincount(labels, minlength=len(dataset.classes))
    extra = []
    for place, name in enumerate(dataset.classes):
        if counts[place]:
            times = _times(name, dataset.classes, int(counts[place]), int(counts.max()))
            extra.append(np.repeat(index[labels == place], times - 1))
    return np.concatenate([index, *extra])


def _times(name: str, classes: Sequence[str], count: int, largest: int) -> int:
    """How often an epoch takes each of `count` records of a class."""
    if set(classes) == set(CINC_TIMES):
        return min(CINC_TIMES[name], largest // count)
    return min(max(largest // (_PART_OF_LARGEST * count), 1), _MOST_TIMES)


def _positions(dataset: Dataset, names: Sequence[str]) -> list[int]:
    position = {name: i for i, name in enumerate(dataset.names)}
    if missing := [name for name in names if name not in position]:
        raise InputError(
            f"test records: {len(missing)} of {len(names)} are not in {dataset.source} (first: {missing[0]})"
        )
    return sorted({position[name] for name in names})


def stratified(labels: np.ndarray, index: np.ndarray, count: int, *, seed: int = 0) -> np.ndarray:
    """`count` records of `index`, each class in its proportion (largest remainders), sorted and seeded.

    Args:
        labels: int64 [N] of the whole data set.
        index: records to choose from; all of them are returned where they are no more than `count`.
    """
    if count >= len(index):
        return np.sort(index)
    rng = np.random.default_rng(seed)
    members = [index[labels[index] == label] for label in np.unique(labels[index])]
    shares = np.array([len(group) for group in members]) * count / len(index)
    quota = np.floor(shares).astype(int)
    for place in np.argsort(quota - shares, kind="stable")[: count - quota.sum()]:
        quota[place] += 1
    return np.sort(np.concatenate([rng.permutation(g)[:n] for g, n in zip(members, quota, strict=True)]))
