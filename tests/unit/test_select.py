"""Choosing real images: against the definitions, their laws, planted clusters and duplicates."""

import itertools
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from frepo.methods.select import chosen_per_class, herding, k_center, k_means

SEEDED = partial(k_means, seed=(3, 1))
METHODS = {"herding": herding, "k_center": k_center, "k_means": SEEDED}
SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 3))
GRID = arrays.arrays(np.float32, SHAPES, elements=st.integers(-3, 3), fill=st.nothing())
"""Whole numbers, in which distances and ties are exact; many points are equal."""

laws = settings(derandomize=True, deadline=None, max_examples=100)
every_method = pytest.mark.parametrize("method", METHODS)


def spread(n=60, dimension=5, seed=0):
    return np.random.default_rng(seed).normal(size=(n, dimension)).astype(np.float32)


def planted(sizes, dimension=20, seed=0):
    """Return vectors in tight, far clusters of the given sizes, shuffled, and the cluster of each."""
    random = np.random.default_rng(seed)
    clusters = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centers = 10 * random.normal(size=(len(sizes), dimension))
    return (centers[clusters] + 0.1 * random.normal(size=(len(clusters), dimension))).astype(np.float32), clusters


def exact(vectors):
    return [[Fraction(float(x)) for x in vector] for vector in vectors]


def mean(points):
    return [sum(column) / len(points) for column in zip(*points, strict=True)]


def squared_distance(a, b):
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def herding_by_definition(vectors, count):
    points, chosen = exact(vectors), []
    for _ in range(count):
        free = [i for i in range(len(points)) if i not in chosen]
        running = {i: mean([points[j] for j in [*chosen, i]]) for i in free}
        chosen.append(min(free, key=lambda i: squared_distance(running[i], mean(points))))
    return chosen


def k_center_by_definition(vectors, count):
    points = exact(vectors)
    chosen = [min(range(len(points)), key=lambda i: squared_distance(points[i], mean(points)))]
    while len(chosen) < count:
        free = [i for i in range(len(points)) if i not in chosen]
        chosen.append(max(free, key=lambda i: min(squared_distance(points[i], points[j]) for j in chosen)))
    return chosen


def covering_radius(vectors, chosen):
    distances = np.linalg.norm(vectors[:, None].astype(np.float64) - vectors[None, chosen], axis=2)
    return distances.min(axis=1).max()


@pytest.mark.parametrize(
    ("method", "definition"), [(herding, herding_by_definition), (k_center, k_center_by_definition)]
)
@given(vectors=GRID)
@laws
def test_the_choice_is_that_of_the_definition_in_fractions_at_ties_too(method, definition, vectors):
    assert method(vectors, len(vectors)).tolist() == definition(vectors, len(vectors))


@pytest.mark.parametrize(
    ("method", "definition"), [(herding, herding_by_definition), (k_center, k_center_by_definition)]
)
def test_the_choice_is_that_of_the_definition_among_real_numbers(method, definition):
    vectors = 1_000_000 + spread(25)  # float32 sums of these are off by tenths
    assert method(vectors, 25).tolist() == definition(vectors, 25)


@every_method
@given(GRID, st.data())
@laws
def test_as_many_as_asked_for_are_chosen_none_twice_duplicates_or_not(method, vectors, data):
    count = data.draw(st.integers(1, len(vectors)))
    chosen = METHODS[method](vectors, count)
    assert chosen.dtype == np.int64
    assert len(chosen) == len(set(chosen.tolist())) == count
    assert set(chosen.tolist()) <= set(range(len(vectors)))


@every_method
def test_all_equal_points_are_chosen_in_their_order(method):
    assert METHODS[method](np.full((6, 4), 0.1, np.float32), 4).tolist() == [0, 1, 2, 3]


@every_method
def test_one_choice_is_the_point_nearest_the_mean(method):
    vectors = spread()
    nearest = np.linalg.norm(vectors - vectors.mean(axis=0), axis=1).argmin()
    assert METHODS[method](vectors, 1).tolist() == [nearest]


@pytest.mark.parametrize("method", ["herding", "k_center"])
@given(st.integers(0, 2**32 - 1))
@laws
def test_neither_order_nor_shift_nor_scale_nor_rotation_changes_the_choice(method, seed):
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(20, 4))
    chosen = METHODS[method](vectors, 6)
    order = random.permutation(20)
    np.testing.assert_array_equal(order[METHODS[method](vectors[order], 6)], chosen)
    rotation = np.linalg.qr(random.normal(size=(4, 4)))[0]
    np.testing.assert_array_equal(METHODS[method](3 * vectors @ rotation + random.normal(size=4), 6), chosen)


@pytest.mark.parametrize("method", ["herding", "k_center"])
def test_what_is_chosen_first_does_not_depend_on_how_many_follow(method):
    longest = METHODS[method](spread(), 60)
    for count in (1, 2, 30):
        np.testing.assert_array_equal(METHODS[method](spread(), count), longest[:count])


def test_the_herded_mean_is_closer_than_that_of_random_images():
    vectors = spread(500, 30)
    error = [np.linalg.norm(vectors[chosen].mean(0) - vectors.mean(0)) for chosen in (herding(vectors, 20), range(20))]
    assert error[0] < 0.5 * error[1]


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
@laws
def test_the_radius_around_k_centers_is_at_most_twice_the_smallest(seed, count):
    vectors = np.random.default_rng(seed).normal(size=(9, 2)).astype(np.float32)
    best = min(covering_radius(vectors, list(few)) for few in itertools.combinations(range(9), count))
    assert covering_radius(vectors, k_center(vectors, count)) <= 2 * best + 1e-6


@pytest.mark.parametrize("method", ["k_center", "k_means"])
@pytest.mark.parametrize("seed", range(5))
def test_each_planted_cluster_is_chosen_from_once(method, seed):
    vectors, clusters = planted([30, 5, 20, 8, 1, 13], seed=seed)
    assert sorted(clusters[METHODS[method](vectors, 6)].tolist()) == list(range(6))


def test_k_means_takes_the_nearest_to_the_centre_of_each_cluster_from_the_largest_on():
    vectors, clusters = planted([4, 40, 1, 11, 7, 25])
    expected = []
    for cluster in (1, 5, 3, 4, 0, 2):
        members = np.flatnonzero(clusters == cluster)
        distances = np.linalg.norm(vectors[members] - vectors[members].mean(axis=0, dtype=np.float64), axis=1)
        expected.append(members[distances.argmin()])
    for seed in range(5):
        np.testing.assert_array_equal(k_means(vectors, 6, (seed,)), expected)


def test_of_pairs_k_means_takes_the_first_and_of_equal_clusters_the_first():
    vectors, clusters = planted([2, 2, 2, 2])
    assert SEEDED(vectors, 4).tolist() == sorted(np.flatnonzero(clusters == cluster)[0] for cluster in range(4))


def test_k_means_follows_its_seed_and_nothing_else():
    vectors = spread(300)
    results = [tuple(k_means(vectors, 20, seed)) for seed in ((0, 1), (0, 1), (0, 2), (1, 1))]
    assert results[0] == results[1]
    assert len(set(results)) == 3


def test_k_means_leaves_the_vectors_as_they_are():
    vectors = spread().astype(np.float64)
    copy = vectors.copy()
    SEEDED(vectors, 5)
    np.testing.assert_array_equal(vectors, copy)


def test_with_fewer_distinct_points_than_clusters_k_means_goes_round_the_clusters():
    vectors = np.array([[5, 5], [0, 0], [5, 5], [9, 0], [0, 0], [0, 0]], np.float32)
    assert SEEDED(vectors, 3).tolist() == [1, 0, 3]
    assert SEEDED(vectors, 6).tolist() == [1, 0, 3, 4, 2, 5]


@every_method
def test_each_class_is_chosen_from_by_itself(method):
    labels = np.random.default_rng(0).integers(0, 3, 90)
    pixels = spread(90, 12).reshape(90, 2, 2, 3)
    asked = []

    def vectors_of(indices):
        asked.append(indices)
        return pixels[indices]

    chosen = chosen_per_class(method, vectors_of, labels, 3, 4, (7, 2))
    assert chosen.dtype == np.int64
    np.testing.assert_array_equal(labels[chosen], np.repeat(range(3), 4))
    for label in range(3):
        members = np.flatnonzero(labels == label)
        np.testing.assert_array_equal(asked[label], members)
        vectors = pixels[members].reshape(len(members), 12)
        alone = k_means(vectors, 4, (7, 2, label)) if method == "k_means" else METHODS[method](vectors, 4)
        np.testing.assert_array_equal(chosen[4 * label : 4 * label + 4], members[alone])
