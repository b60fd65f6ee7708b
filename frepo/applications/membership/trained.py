"""Attacks by classifiers trained to tell members from non-members by a network's outputs."""

from typing import Any, Literal

import numpy as np

from frepo.applications.membership.curve import Scores, roc_scores
from frepo.applications.membership.exposed import Exposed

Attacker = Literal["logistic_regression", "multi_layer_perceptron", "random_forest", "k_nearest_neighbours"]

FOLDS = 5
FEWEST = 20
"""Examples needed on each side."""


def trained_attack(
    kind: Attacker, members: Exposed, non_members: Exposed, seed: tuple[int, ...], most: int = 10_000
) -> Scores:
    """Train attackers of a `kind` and return their success on examples that they were not trained on.

    Features are the logits, the one-hot label and the loss, all standardised. As many examples as the smaller side
    has, but at most `most`, are drawn from each side. They are dealt into folds with equally many members and
    non-members, and the score of an example is the probability of membership given by the attacker trained
    on the other folds. The curve covers all folds together.

    The folds share training examples, so their results are correlated: without any signal the AUC varies with about
    twice the variance of independent scores. The interval is widened accordingly, by the factor
    1 + FOLDS / (FOLDS - 1) on the variance (Nadeau and Bengio 2003).

    The same seed gives the same numbers. If both sides are the same examples, both copies of each are in one fold.
    ValueError for fewer than FEWEST examples on a side, or if the numbers of classes differ.
    """
    from sklearn.model_selection import PredefinedSplit, cross_val_predict  # slow to import
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    size = min(len(members.labels), len(non_members.labels), most)
    if size < FEWEST:
        raise ValueError(f"an attacker needs at least {FEWEST} members and as many non-members, not {size}")
    features = np.concatenate([_features(side, size, seed) for side in (members, non_members)])
    is_member = np.repeat([1, 0], size)
    # Equal counts in each fold: otherwise the share of members among the training examples reveals the held-out ones.
    folds = np.tile(np.arange(size) % FOLDS, 2)
    random_state = int(np.random.SeedSequence(seed).generate_state(1)[0])
    pipeline = make_pipeline(StandardScaler(), _attacker(kind, size, random_state))
    split = PredefinedSplit(folds)
    # On one thread: sums round the same in every run and on any number of cores (a forest adds up its trees' votes in
    # the order in which threads end), and on arrays this small, threads mostly wait for each other.
    with threadpool_limits(1):
        found: Any = cross_val_predict(pipeline, features, is_member, cv=split, method="predict_proba", n_jobs=1)
    scores = found[:, 1]
    return roc_scores(scores[:size], scores[size:], variance_times=1 + FOLDS / (FOLDS - 1))


def _features(side: Exposed, size: int, seed: tuple[int, ...]) -> np.ndarray:
    """Return float64 [size, 2 C + 1] of examples in random order, the same order for sides of equal size."""
    rows = np.random.default_rng(seed).choice(len(side.labels), size, replace=False)
    one_hot = np.eye(side.logits.shape[1])[side.labels[rows]]
    return np.column_stack([side.logits[rows].astype(np.float64), one_hot, side.loss[rows]])


def _attacker(kind: Attacker, size: int, random_state: int) -> Any:
    """Return an untrained classifier for `size` examples of each side."""
    match kind:
        case "logistic_regression":
            from sklearn.linear_model import LogisticRegression

            return LogisticRegression(max_iter=1000)
        case "multi_layer_perceptron":
            from sklearn.neural_network import MLPClassifier

            # Training stops once its held-out tenth has not improved for ten epochs, long before `max_iter`. An epoch
            # has about thirty steps at any size: with fewer, training would stop before anything is learned.
            return MLPClassifier(
                (64,),
                batch_size=min(max(size // 20, 10), 500),  # pyright: ignore[reportArgumentType]
                learning_rate_init=3e-3,
                early_stopping=True,
                max_iter=1000,
                random_state=random_state,
            )
        case "random_forest":
            from sklearn.ensemble import RandomForestClassifier

            return RandomForestClassifier(100, max_depth=10, min_samples_leaf=5, n_jobs=1, random_state=random_state)
        case "k_nearest_neighbours":
            from sklearn.neighbors import KNeighborsClassifier

            # Proportional to the square root of n: few neighbours give few distinct scores and a weaker attack.
            return KNeighborsClassifier(round(size**0.5), algorithm="brute", n_jobs=1)
        case _:
            raise ValueError(f"no such attacker: {kind}")
