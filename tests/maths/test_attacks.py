"""Membership inference against brute force, worlds with a known answer, and worlds with nothing to be found."""

import math
from dataclasses import asdict, replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frepo.applications.membership.curve import NORMAL_95, Scores, roc_scores
from frepo.applications.membership.exposed import cross_entropies, expose, half_squared_errors, log_odds
from frepo.applications.membership.lira import lira_offline, scaled_confidence
from frepo.applications.membership.threshold import threshold_attack
from frepo.applications.membership.trained import FEWEST, FOLDS, Attacker, trained_attack

TRAINED = get_args(Attacker)
EVERY = ("threshold", *TRAINED)
vectors = st.lists(st.integers(-6, 6), min_size=2, max_size=25).map(np.array)


def normal_cdf(x):
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def outputs(random, n, classes=4, confidence=0.6, spread=0.3):
    """Outputs of a network that was trained on centred labels: right on average, with noise."""
    labels = random.integers(0, classes, n)
    logits = random.normal(size=(n, classes)) * spread - 1 / classes
    logits[np.arange(n), labels] += confidence
    return expose(logits.astype(np.float32), labels, half_squared_errors)


def attack(kind, members, non_members, seed=(0,), **options):
    if kind == "threshold":
        return threshold_attack(members, non_members)
    return trained_attack(kind, members, non_members, seed, **options)


def brute_force(members, non_members):
    """Compute every number of `Scores` from all pairs, and from all thresholds one by one."""
    m, n = len(members), len(non_members)
    wins = np.array([[(a > b) + 0.5 * (a == b) for b in non_members] for a in members], float)
    auc = wins.mean()
    by_member = sum((row.mean() - auc) ** 2 for row in wins) / (m - 1)
    by_non_member = sum((column.mean() - auc) ** 2 for column in wins.T) / (n - 1)
    half = NORMAL_95 * math.sqrt(by_member / m + by_non_member / n)
    points = [(0.0, 0.0)]
    for threshold in [*members, *non_members]:
        points.append((np.mean(non_members >= threshold), np.mean(members >= threshold)))
    return Scores(
        auc=auc,
        auc_low=max(0, auc - half),
        auc_high=min(1, auc + half),
        advantage=max(tpr - fpr for fpr, tpr in points),
        tpr_at_1_in_100=max(tpr for fpr, tpr in points if fpr == 0 or (n * fpr + 1) / (n + 1) <= 0.01),
        tpr_at_1_in_1000=max(tpr for fpr, tpr in points if fpr == 0 or (n * fpr + 1) / (n + 1) <= 0.001),
        members=m,
        non_members=n,
    )


@given(vectors, vectors)
@settings(derandomize=True, deadline=None, max_examples=80)
def test_scores_are_those_of_brute_force_ties_included(members, non_members):
    assert asdict(roc_scores(members, non_members)) == pytest.approx(asdict(brute_force(members, non_members)))


def test_low_false_positive_rates_are_those_of_brute_force():
    random = np.random.default_rng(0)
    members, non_members = random.normal(1, 1, 150).round(1), random.normal(0, 1, 2017).round(1)
    found = roc_scores(members, non_members)
    assert asdict(found) == pytest.approx(asdict(brute_force(members, non_members)))
    assert 0 < found.tpr_at_1_in_1000 < found.tpr_at_1_in_100 < 1


def test_a_bound_that_allows_exactly_one_false_positive_allows_it():
    non_members = np.arange(199.0)
    assert roc_scores(np.array([197.5, 50.0]), non_members).tpr_at_1_in_100 == 0.5
    assert roc_scores(np.array([197.5, 50.0]), non_members[1:]).tpr_at_1_in_100 == 0
    # A tie with the second highest non-member would let two through.
    assert roc_scores(np.array([197.0, 50.0]), non_members).tpr_at_1_in_100 == 0


@pytest.mark.parametrize("n", [99, 100, 150, 199, 200, 1000])
def test_chance_has_no_more_true_positives_than_the_bound_on_the_false_ones(n):
    random = np.random.default_rng(20)
    draws = [roc_scores(*random.normal(size=(2, n))) for _ in range(300)]
    expected = [((n + 1) // one_in or 1) / (n + 1) for one_in in (100, 1000)]
    assert expected[0] <= 0.01
    found = np.array([(one.tpr_at_1_in_100, one.tpr_at_1_in_1000) for one in draws])
    assert np.all(np.abs(found.mean(axis=0) - expected) < 4 * found.std(axis=0) / math.sqrt(len(draws)))


@given(vectors, vectors)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_laws_of_the_scores(members, non_members):
    found = roc_scores(members, non_members)
    other = roc_scores(non_members, members)
    assert found.auc == pytest.approx(1 - other.auc, abs=1e-12)
    assert (found.auc_low, found.auc_high) == pytest.approx((1 - other.auc_high, 1 - other.auc_low), abs=1e-12)
    assert 0 <= found.auc_low <= found.auc <= found.auc_high <= 1
    assert 0 <= found.tpr_at_1_in_1000 <= found.tpr_at_1_in_100 <= found.advantage + 0.01
    # No curve is more than the advantage above the diagonal; the best such curve has the area 1/2 + d - d^2 / 2.
    for one in (found, other):
        assert one.auc <= 0.5 + one.advantage - one.advantage**2 / 2 + 1e-12
    for increasing in (lambda x: x**3, np.exp, lambda x: np.where(x > 5, np.inf, np.where(x < -5, -np.inf, 7 * x))):
        assert roc_scores(increasing(members), increasing(non_members)) == found


@given(vectors)
@settings(derandomize=True, deadline=None, max_examples=30)
def test_scores_against_themselves_are_chance(scores):
    found = roc_scores(scores, scores)
    assert found.auc == 0.5
    assert found.advantage == 0
    assert found.auc_low + found.auc_high == pytest.approx(1)


def test_separated_sides_are_told_apart():
    found = roc_scores(np.array([3.0, np.inf]), np.array([-np.inf, 1.0, 2.0]))
    assert found == Scores(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2, 3)


def test_interval_is_as_wide_as_resampling_says_and_covers_the_truth():
    random = np.random.default_rng(1)
    distance, truth = 0.8, normal_cdf(0.8 / math.sqrt(2))
    covered, found = 0, []
    for _ in range(400):
        one = roc_scores(random.normal(distance, 1, 60), random.normal(0, 1, 90))
        covered += one.auc_low <= truth <= one.auc_high
        found.append(one.auc)
    assert 0.92 <= covered / 400 <= 0.98

    members, non_members = random.normal(distance, 1, 60), random.normal(0, 1, 90)
    resampled = [roc_scores(random.choice(members, 60), random.choice(non_members, 90)).auc for _ in range(1000)]
    one = roc_scores(members, non_members)
    assert (one.auc_high - one.auc_low) / 2 / NORMAL_95 == pytest.approx(np.std(resampled), rel=0.1)
    assert np.std(found) == pytest.approx(np.std(resampled), rel=0.2)


def test_a_multiple_of_the_variance_widens_the_interval_only():
    members, non_members = np.random.default_rng(2).normal(size=(2, 100))
    one, four = roc_scores(members, non_members), roc_scores(members, non_members, variance_times=4)
    assert one.auc - four.auc_low == pytest.approx(2 * (one.auc - one.auc_low))
    assert four.auc_high - one.auc == pytest.approx(2 * (one.auc_high - one.auc))
    assert replace(four, auc_low=one.auc_low, auc_high=one.auc_high) == one


@pytest.mark.parametrize(
    ("members", "non_members"),
    [([1.0, np.nan], [0.0, 1.0]), ([1.0, 2.0], [np.nan, 1.0]), ([1.0], [0.0, 1.0]), ([], [0.0, 1.0])],
)
def test_scores_that_say_nothing_are_refused(members, non_members):
    with pytest.raises(ValueError, match=r"not a number|at least two"):
        roc_scores(np.array(members), np.array(non_members))


def test_losses_are_those_of_their_definitions():
    random = np.random.default_rng(2)
    logits, labels = random.normal(size=(30, 5)).astype(np.float32), random.integers(0, 5, 30)
    one_hot = np.eye(5)[labels]
    probability = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum(axis=1, keepdims=True)
    own = (probability * one_hot).sum(axis=1)
    half_squared = 0.5 * ((logits - (one_hot - 0.2)) ** 2).sum(axis=1)
    np.testing.assert_allclose(half_squared_errors(logits, labels), half_squared, rtol=1e-6)
    np.testing.assert_allclose(cross_entropies(logits, labels), -np.log(own), rtol=1e-12)
    np.testing.assert_allclose(log_odds(logits, labels), np.log(own / (1 - own)), rtol=1e-9)
    assert expose(logits, labels, half_squared_errors).loss.dtype == np.float64
    np.testing.assert_array_equal(expose(logits, labels, cross_entropies).loss, cross_entropies(logits, labels))


def test_log_odds_do_not_round_where_probabilities_do():
    logits, labels = np.array([[800.0, 0.0, 0.0], [-800.0, 0.0, -9000.0]], np.float32), np.array([0, 0])
    np.testing.assert_allclose(log_odds(logits, labels), [800 - math.log(2), -800], rtol=1e-12)
    np.testing.assert_allclose(cross_entropies(logits, labels), [0, 800], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((3, 2)), np.array([0, 1, 2]), "among 0 to 1"),
        (np.zeros((3, 2)), np.array([0, -1, 1]), "among 0 to 1"),
        (np.zeros((3, 2)), np.zeros(3), "integers"),
        (np.zeros((3, 2)), np.zeros(2, int), "3 integers"),
        (np.zeros((3, 1)), np.zeros(3, int), "two classes"),
        (np.array([[0, np.nan]]), np.array([0]), "diverged"),
        (np.array([[0, np.inf]]), np.array([0]), "diverged"),
        (np.array([[0, 1e300]]), np.array([0]), "overflows"),
    ],
)
def test_outputs_that_are_no_use_are_refused(logits, labels, message):
    with pytest.raises(ValueError, match=message):
        expose(logits, labels, half_squared_errors)


def test_the_threshold_attack_ranks_by_loss():
    members, non_members = (outputs(np.random.default_rng(seed), 50) for seed in (3, 4))
    assert threshold_attack(members, non_members) == roc_scores(-members.loss, -non_members.loss)
    assert threshold_attack(members, members).auc == 0.5


@pytest.mark.parametrize("kind", EVERY)
def test_every_attack_finds_a_memoriser(kind):
    random = np.random.default_rng(5)
    members = outputs(random, 200, confidence=1.0, spread=0.01)
    non_members = outputs(random, 300, confidence=0.5, spread=0.3)
    found = attack(kind, members, non_members)
    assert found.auc > 0.97
    assert found.auc_low > 0.9
    assert found.advantage > 0.85


@pytest.mark.parametrize("kind", EVERY)
def test_no_attack_finds_what_is_not_there(kind):
    found = []
    for seed in range(6):
        random = np.random.default_rng([6, seed])
        found.append(attack(kind, outputs(random, 200), outputs(random, 200), (seed,)))
    covered = [one.auc_low <= 0.5 <= one.auc_high for one in found]
    assert sum(covered) >= len(found) - 2  # of six 95% intervals one or two may well miss
    deviation = np.mean([one.auc_high - one.auc_low for one in found]) / 2 / NORMAL_95
    assert abs(np.mean([one.auc for one in found]) - 0.5) < 4 * deviation / math.sqrt(len(found))


def test_intervals_of_trained_attacks_cover_chance_as_often_as_they_say():
    covered, independent = 0, 0
    for seed in range(150):
        random = np.random.default_rng([7, seed])
        one = attack("logistic_regression", outputs(random, 100), outputs(random, 100), (seed,))
        covered += one.auc_low <= 0.5 <= one.auc_high
        # Were held-out scores independent, two thirds of the width would do.
        independent += abs(one.auc - 0.5) <= (one.auc_high - one.auc) / math.sqrt(1 + FOLDS / (FOLDS - 1))
    assert covered / 150 >= 0.91
    assert independent / 150 < 0.9


@pytest.mark.parametrize(("kind", "draws"), [("threshold", 300), ("logistic_regression", 60)])
def test_true_positives_at_few_false_ones_are_as_few_where_nothing_is_to_be_found(kind, draws):
    random = np.random.default_rng(21)
    found = [attack(kind, outputs(random, 200), outputs(random, 200), (i,)).tpr_at_1_in_100 for i in range(draws)]
    assert 0.004 < np.mean(found) < 0.01 + 3 * np.std(found) / math.sqrt(draws)


@pytest.mark.parametrize("kind", TRAINED)
def test_held_out_examples_are_never_seen(kind):
    # So many features that any example can be told from any other, and nothing else to learn.
    random = np.random.default_rng(8)
    sides = [
        expose(random.normal(size=(150, 200)).astype(np.float32), random.integers(0, 200, 150), half_squared_errors)
        for _ in range(2)
    ]
    assert abs(attack(kind, *sides).auc - 0.5) < 0.2  # four deviations; seen, they would be told apart perfectly


@pytest.mark.parametrize("kind", TRAINED)
def test_copies_on_both_sides_are_chance(kind):
    side = outputs(np.random.default_rng(9), 120)
    found = attack(kind, side, side, most=100)
    assert found.auc == 0.5
    assert found.members == found.non_members == 100


@pytest.mark.parametrize("kind", TRAINED)
def test_the_seed_decides_everything(kind):
    random = np.random.default_rng(10)
    members, non_members = outputs(random, 90, confidence=0.7), outputs(random, 60)
    one = attack(kind, members, non_members, (1, 2))
    assert attack(kind, members, non_members, (1, 2)) == one
    assert attack(kind, members, non_members, (1, 3)) != one
    assert one.members == one.non_members == 60


def test_sides_are_cut_to_the_most_that_is_asked_for_and_to_no_less_than_is_needed():
    random = np.random.default_rng(11)
    members, non_members = outputs(random, 50), outputs(random, 40)
    assert trained_attack("multi_layer_perceptron", members, non_members, (0,), most=FEWEST).members == FEWEST
    with pytest.raises(ValueError, match="at least 20"):
        trained_attack("logistic_regression", members, non_members, (0,), most=FEWEST - 1)
    with pytest.raises(ValueError, match="dimensions"):
        trained_attack("logistic_regression", members, outputs(random, 40, classes=5), (0,))
    with pytest.raises(ValueError, match="no such attacker"):
        trained_attack("oracle", members, non_members, (0,))  # pyright: ignore[reportArgumentType]


def with_margin(margin):
    """Outputs [..., 3] whose first class leads by `margin`; labels are all 0."""
    margin = np.asarray(margin)
    return np.stack([margin - 0.3, np.full_like(margin, -0.3), np.full_like(margin, -0.5)], axis=-1)


def shadow_world(seed, n, k, spread=0.03, lead=0.045):
    """Examples of very different difficulty; the target's margin on members, the first half, is larger by `lead`.

    A shadow network has each example in its training set with probability one half. `spread` is a number or [n].
    """
    random = np.random.default_rng(seed)
    difficulty = random.normal(0.4, 0.2, n)
    shadow_out = random.random((k, n)) < 0.5
    shadow_out[:2] = True
    target = difficulty + random.normal(size=n) * spread + lead * (np.arange(n) < n // 2)
    shadow = difficulty + random.normal(size=(k, n)) * spread + lead * ~shadow_out
    return with_margin(target), np.zeros(n, int), with_margin(shadow), shadow_out


def test_lira_finds_what_a_threshold_on_the_loss_cannot():
    n, k, spread, lead = 4000, 200, 0.03, 0.045
    target, labels, shadow, shadow_out = shadow_world(12, n, k, spread, lead)
    score = lira_offline(target, labels, shadow, shadow_out)
    found = roc_scores(score[: n // 2], score[n // 2 :])
    plain = threshold_attack(
        expose(target[: n // 2], labels[: n // 2], half_squared_errors),
        expose(target[n // 2 :], labels[n // 2 :], half_squared_errors),
    )

    # About half of the shadow networks left each example out, so the mean adds 2 / k of the variance.
    distance = lead / (spread * math.sqrt(1 + 2 / k))
    assert found.auc_low <= normal_cdf(distance / math.sqrt(2)) <= found.auc_high
    assert found.advantage == pytest.approx(2 * normal_cdf(distance / 2) - 1, abs=0.04)
    assert found.tpr_at_1_in_100 == pytest.approx(normal_cdf(distance - 2.326), abs=0.06)
    assert plain.auc_high < 0.65 < 0.8 < found.auc_low
    assert plain.tpr_at_1_in_100 < 0.05


def test_lira_with_few_networks_does_better_by_one_variance_and_with_many_by_each_example_s_own():
    random = np.random.default_rng(13)

    def aucs(k, spread):
        world = shadow_world(14, 3000, k, spread, 0.06)
        for common in (True, False, None):
            score = lira_offline(*world, common_variance=common)
            yield roc_scores(score[:1500], score[1500:]).auc

    common, own, default = aucs(8, 0.04)
    assert common > own + 0.01
    assert default == common
    common, own, default = aucs(300, random.uniform(0.005, 0.15, 3000))
    assert own > common + 0.02
    assert default == own


def test_lira_is_the_standard_score_over_networks_that_left_the_example_out():
    random = np.random.default_rng(15)
    target, shadow = random.normal(size=(6, 4)), random.normal(size=(7, 6, 4))
    labels, shadow_out = random.integers(0, 4, 6), random.random((7, 6)) < 0.6
    shadow_out[:2] = True
    for scaling in ("margin", "log_odds"):
        values = [[scaled_confidence(net, labels, scaling)[i] for net in shadow[shadow_out[:, i]]] for i in range(6)]
        mean = np.array([np.mean(x) for x in values])
        excess = scaled_confidence(target, labels, scaling) - mean
        own = np.array([np.std(x, ddof=1) for x in values])
        squares = sum(np.sum((x - m) ** 2) for x, m in zip(values, mean, strict=True))
        common = math.sqrt(squares / (shadow_out.sum() - 6))
        arguments = (target, labels, shadow, shadow_out, scaling)
        np.testing.assert_allclose(lira_offline(*arguments), excess / common)
        np.testing.assert_allclose(lira_offline(*arguments, common_variance=False), excess / own)

    # Whatever a network says of what it was trained on, offline it is not heard.
    shadow[~shadow_out] *= 100
    np.testing.assert_array_equal(lira_offline(target, labels, shadow, shadow_out, "log_odds"), excess / common)


def test_the_margin_is_the_lead_over_the_second_best():
    logits = np.array([[0.5, 0.2, -0.7], [0.5, 0.2, -0.7], [0.1, 0.1, -0.2]])
    np.testing.assert_allclose(scaled_confidence(logits, np.array([0, 2, 1]), "margin"), [0.3, -1.2, 0], atol=1e-12)


def test_lira_finds_nothing_where_nothing_is():
    target, labels, shadow, shadow_out = shadow_world(16, 3000, 30, lead=0)
    score = lira_offline(target, labels, shadow, shadow_out)
    found = roc_scores(score[:1500], score[1500:])
    assert found.auc_low <= 0.5 <= found.auc_high


def test_very_exposed_members_stay_apart():
    # Probabilities of a Gaussian 9 and 20 deviations out are both 1 in floats.
    shadow = with_margin(np.array([[0.0, 0.0], [0.1, 0.1], [0.2, 0.2]]))
    score = lira_offline(with_margin([1.0, 2.1]), np.zeros(2, int), shadow, np.ones((3, 2), bool))
    np.testing.assert_allclose(score, [9, 20])


@pytest.mark.parametrize("common", [True, False])
def test_lira_refuses_an_example_that_no_network_left_out(common):
    target, labels, shadow, shadow_out = shadow_world(17, 10, 6)
    shadow_out[:, 7] = False
    with pytest.raises(ValueError, match="example 7 was left out by 0"):
        lira_offline(target, labels, shadow, shadow_out, common_variance=common)


def test_lira_needs_two_networks_for_an_example_s_own_variance():
    target, labels, shadow, shadow_out = shadow_world(18, 10, 6)
    shadow_out[:, 3] = [True, False, False, False, False, False]
    assert np.isfinite(lira_offline(target, labels, shadow, shadow_out)).all()
    with pytest.raises(ValueError, match="example 3 was left out by 1"):
        lira_offline(target, labels, shadow, shadow_out, common_variance=False)


def test_lira_refuses_what_cannot_be_right():
    target, labels, shadow, shadow_out = shadow_world(19, 10, 6)
    with pytest.raises(ValueError, match="do not differ"):
        lira_offline(target, labels, np.repeat(shadow[:1], 6, axis=0), shadow_out)
    with pytest.raises(ValueError, match="do not differ"):
        lira_offline(target, labels, shadow[:1], np.ones((1, 10), bool))
    with pytest.raises(ValueError, match="do not fit"):
        lira_offline(target, labels, shadow, shadow_out.T)
    with pytest.raises(ValueError, match="do not fit"):
        lira_offline(target[:9], labels[:9], shadow, shadow_out)
    with pytest.raises(ValueError, match="must be bool"):
        lira_offline(target, labels, shadow, shadow_out.astype(int))
    shadow[2, 3, 1] = np.nan
    with pytest.raises(ValueError, match="diverged"):
        lira_offline(target, labels, shadow, shadow_out)
