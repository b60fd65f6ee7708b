"""Membership inference: outputs of trained networks for members and non-members, and attacks on them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from frepo.applications.membership.curve import Scores, roc_scores
from frepo.applications.membership.exposed import Exposed, cross_entropies, expose, half_squared_errors
from frepo.applications.membership.lira import Scaling, lira_offline
from frepo.applications.membership.threshold import threshold_attack
from frepo.applications.membership.trained import trained_attack
from frepo.data.dataset import Dataset
from frepo.data.residency import input_maker
from frepo.engine.journal import Journal
from frepo.engine.randomness import Stream
from frepo.engine.run import run_steps
from frepo.errors import FrepoError
from frepo.methods.base import DistilledData
from frepo.networks.prepare import prepare
from frepo.networks.scoring import Outputs, parts
from frepo.networks.training import one_by_one
from frepo.plan import AttackStage, ExposeStage
from frepo.rundir import record
from frepo.rundir.arrays import npz_bytes, read_npz
from frepo.rundir.record import Row
from frepo.runtime import RuntimeOptions
from frepo.signals import raise_if_stopping
from frepo.spec.application import Attack


class Exposure(NamedTuple):
    """Outputs of k networks for members and non-members.

    Attributes:
        members: logits float32 [k, n, C].
        member_labels: int32 [n].
        non_members: logits float32 [k, m, C].
        non_member_labels: int32 [m].
    """

    members: np.ndarray
    member_labels: np.ndarray
    non_members: np.ndarray
    non_member_labels: np.ndarray


def expose_networks(
    work: ExposeStage,
    data: DistilledData | None,
    members: Dataset,
    outside: Dataset | None,
    options: RuntimeOptions,
    journal: Journal,
) -> None:
    """Train networks and write their logits for members and non-members.

    They are trained on `data`; if it is None, on the members themselves, or, as shadow networks, each on as many images
    drawn from `outside`.

    Raises:
        Interrupted: a signal came; the state is saved.
        FrepoError: the training diverged.
    """
    trained_on = outside or members
    positions = _shadow_positions(work, members, outside) if outside else None
    trainer, loop = prepare(work, data, trained_on, options.residency, positions)
    networks = one_by_one(run_steps(loop, journal))
    outputs = Outputs(trainer.logits, input_maker(members.preprocess))

    def logits(images: np.ndarray) -> np.ndarray:
        return np.stack([outputs(network, (images[part] for part in parts(len(images)))) for network in networks])

    exposure = Exposure(
        logits(members.train_images),
        np.asarray(members.train_labels),
        logits(members.test_images),
        np.asarray(members.test_labels),
    )
    journal.write_result(record.EXPOSED, npz_bytes(**exposure._asdict()))


def _shadow_positions(work: ExposeStage, members: Dataset, outside: Dataset) -> np.ndarray:
    """Return for each shadow network the positions, int [k, n], of its training images."""
    count, available = members.info.num_train, len(outside.train_labels)
    if available < 2:
        raise FrepoError("lira needs training images that are not members: choose a smaller chunk_size")
    size = min(count, available // 2)  # at most half of them, so that shadow networks differ
    random = np.random.default_rng([work.seed, Stream.SHADOWS])
    return np.stack([random.permutation(available)[:size] for _ in range(work.recipe.num_models)])


def read_exposure(directory: Path) -> Exposure:
    """Return the exposure written by a finished stage.

    Raises:
        FrepoError: the file is missing or damaged.
    """
    remedy = "run the same command again to compute it again"
    return Exposure(*read_npz(directory / record.EXPOSED, Exposure._fields, remedy))


def attack_networks(work: AttackStage, exposure: Exposure, shadow: Exposure | None) -> list[Row]:
    """Return a row of scores for each network and attack.

    Raises:
        Interrupted: a signal came.
        FrepoError: an attack cannot be made on these data.
    """
    rows: list[Row] = []
    for number in range(len(exposure.members)):
        test_accuracy = float(np.mean(exposure.non_members[number].argmax(axis=1) == exposure.non_member_labels))
        for attack in work.attacks:
            raise_if_stopping()
            try:
                scores = _attack(attack, work, number, exposure, shadow)
            except ValueError as error:
                raise FrepoError(f"the attack {attack} cannot be made: {error}") from None
            rows.append(
                {
                    "chunk_index": work.chunk_index,
                    "source": work.source,
                    "train_steps": work.train_steps,
                    "model": number,
                    "attack": attack,
                    "test_accuracy": test_accuracy,
                    **vars(scores),
                }
            )
    return rows


def _attack(attack: Attack, work: AttackStage, number: int, exposure: Exposure, shadow: Exposure | None) -> Scores:
    loss = half_squared_errors if work.loss == "mse" else cross_entropies
    members = expose(exposure.members[number], exposure.member_labels, loss)
    non_members = expose(exposure.non_members[number], exposure.non_member_labels, loss)
    match attack:
        case "threshold":
            return threshold_attack(members, non_members)
        case "lira":
            assert shadow is not None
            return _lira(members, non_members, shadow, "margin" if work.loss == "mse" else "log_odds")
        case _:
            return trained_attack(attack, members, non_members, (work.seed, Stream.ATTACKS, number))


def _lira(members: Exposed, non_members: Exposed, shadow: Exposure, scaling: Scaling) -> Scores:
    """Return the scores of the attack with shadow networks that were trained on neither side."""
    logits, labels, _ = (np.concatenate(sides) for sides in zip(members, non_members, strict=True))
    shadow_logits = np.concatenate([shadow.members, shadow.non_members], axis=1)
    score = lira_offline(logits, labels, shadow_logits, np.ones(shadow_logits.shape[:2], bool), scaling)
    size = len(members.labels)
    return roc_scores(score[:size], score[size:])
