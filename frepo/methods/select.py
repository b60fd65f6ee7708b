"""Selection of real images."""

import itertools
import warnings
from collections.abc import Callable
from typing import Literal

import numpy as np

from frepo.signals import raise_if_stopping


def random_per_class(labels: np.ndarray, num_classes: int, ipc: int, seed: tuple[int, ...]) -> np.ndarray:
    """Return indices of `ipc` images of each class, int64 [num_classes * ipc], class by class, without repetition.

    `labels` is int [n]; every class must have at least `ipc` images.
    """
    random = np.random.default_rng(seed)
    return np.concatenate(
        [random.choice(np.flatnonzero(labels == label), ipc, replace=False) for label in range(num_classes)]
    )


def chosen_per_class(
    method: Literal["herding", "k_center", "k_means"],
    vectors_of: Callable[[np.ndarray], np.ndarray],
    labels: np.ndarray,
    num_classes: int,
    ipc: int,
    seed: tuple[int, ...],
) -> np.ndarray:
    """Return indices of `ipc` images of each class, int64 [num_classes * ipc], class by class, without repetition.

    `vectors_of` maps indices of images of one class, int64 [m], to the vectors to compare, float32 [m, ...].
    `labels` is int [n]; every class must have at least `ipc` images. Only `k_means` reads `seed`.

    Raises:
        Interrupted: a signal came.
    """
    chosen = []
    for label in range(num_classes):
        raise_if_stopping()
        indices = np.flatnonzero(labels == label)
        vectors = vectors_of(indices).reshape(len(indices), -1)
        match method:
            case "herding":
                places = herding(vectors, ipc)
            case "k_center":
                places = k_center(vectors, ipc)
            case "k_means":
                places = k_means(vectors, ipc, (*seed, label))
        chosen.append(indices[places])
    return np.concatenate(chosen)


def herding(vectors: np.ndarray, count: int) -> np.ndarray:
    """Return `count` <= n of vectors [n, d], int64 [count]: each brings their mean closest to the overall mean.

    Without repetition; ties go to the lowest index (Welling, ICML 2009; Rebuffi et al., CVPR 2017).
    """
    points = _from_mean(vectors)
    chosen, total = [], np.zeros(points.shape[1])
    for _ in range(count):
        distances = _squared_distances(points, -total)
        distances[chosen] = np.inf
        chosen.append(int(distances.argmin()))
        total += points[chosen[-1]]
    return np.array(chosen, np.int64)


def k_center(vectors: np.ndarray, count: int) -> np.ndarray:
    """Return `count` <= n of vectors [n, d], int64 [count]: the nearest to the mean, then the farthest from the chosen.

    Without repetition; ties go to the lowest index (Gonzalez 1985; Sener and Savarese, ICLR 2018).
    """
    points = _from_mean(vectors)
    chosen = [int(_squared_norms(points).argmin())]
    distances = np.full(len(points), np.inf)
    while len(chosen) < count:
        distances = np.minimum(distances, _squared_distances(points, points[chosen[-1]]))
        distances[chosen] = -1.0  # below the distance 0 of duplicates, so none is chosen twice
        chosen.append(int(distances.argmax()))
    return np.array(chosen, np.int64)


def k_means(vectors: np.ndarray, count: int, seed: tuple[int, ...]) -> np.ndarray:
    """Return `count` <= n of vectors [n, d], int64 [count]: the nearest to the centre of each of `count` clusters.

    Ordered from the largest cluster to the smallest; ties go to the lowest index. Without repetition: if there are
    fewer distinct vectors than clusters, the next nearest of each cluster follow. One start of k-means++, from `seed`.
    """
    from sklearn.cluster import KMeans  # slow to import
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    clusters = KMeans(count, copy_x=False, random_state=int(np.random.default_rng(seed).integers(2**32)))
    with threadpool_limits(1, "openmp"), warnings.catch_warnings():  # threads would sum in varying order
        warnings.simplefilter("ignore", ConvergenceWarning)  # if there are fewer distinct vectors than clusters
        # One float64 copy: from float32 vectors k-means++ makes a copy for each candidate centre.
        labels = clusters.fit_predict(vectors.astype(np.float64))
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    members.sort(key=lambda places: (-len(places), places[0]))
    nearest_first = [places[_squared_norms(_from_mean(vectors[places])).argsort(kind="stable")] for places in members]
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(*nearest_first))
    return np.array([place for place in in_turn if place is not None][:count], np.int64)


def _from_mean(vectors: np.ndarray) -> np.ndarray:
    """Return n times the deviations of vectors [n, d] from their mean, float64 [n, d].

    They are not divided by n, so that integers stay integers and equal distances from the mean are exactly equal:
    rounding decides no tie.
    """
    return len(vectors) * vectors.astype(np.float64) - vectors.sum(axis=0, dtype=np.float64)


def _squared_distances(points: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Return the squared distances of float64 points [n, d] from `center` [d], float64 [n]; equal for equal points."""
    from scipy.spatial.distance import cdist  # slow to import

    return cdist(points, center[None], "sqeuclidean")[:, 0]


def _squared_norms(points: np.ndarray) -> np.ndarray:
    return _squared_distances(points, np.zeros(points.shape[1]))
