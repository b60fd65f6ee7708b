"""Plans of membership inference, members and shadows, and attacks on planted cases."""

import numpy as np
import pytest

from frepo.applications.membership.stages import Exposure, attack_networks
from frepo.data.load import load_dataset, load_outside
from frepo.data.sources.digits import read_digits
from frepo.errors import FrepoError
from frepo.plan import AttackStage, ExposeStage, compile_plan
from frepo.spec import Dataset, ExperimentSpec
from frepo.spec.application import ALL_ATTACKS


def plan(**fields):
    application = {"type": "membership", "chunk_size": 100, "train_steps": [10, 20], **fields}
    return compile_plan(
        ExperimentSpec.model_validate(
            {
                "name": "small",
                "dataset": {"name": "digits"},
                "distill": {"method": "frepo", "ipc": 2},
                "application": [application],
            }
        )
    )


def labels(compiled):
    return [stage.label for stage in compiled.stages]


def test_each_length_and_source_is_exposed_once_and_attacked_once():
    found = labels(plan(chunk_indices=[0, 2]))
    assert len(found) == len(set(found)) == 2 * (1 + 2 * (3 + 2))
    assert [label for label in found if label.startswith("attack")] == [
        f"attack-{source}-chunk{chunk}-{steps}"
        for chunk in (0, 2)
        for source in ("distilled", "members")
        for steps in (10, 20)
    ]


def test_changed_attacks_run_only_the_attacks():
    before = {stage.fingerprint for stage in plan().stages}
    for attacks in (["threshold"], ["threshold", "lira"]):
        changed = [stage for stage in plan(attacks=attacks).stages if stage.fingerprint not in before]
        assert {type(stage.work) for stage in changed} == {AttackStage}
    without = labels(plan(attacks=["threshold"]))
    assert not [label for label in without if "shadow" in label], "no attack that needs them, no shadow networks"


def test_only_members_are_distilled_and_a_short_training_is_warmed_up_shortly():
    compiled = plan(chunk_indices=[1])
    for stage in compiled.stages:
        if not isinstance(stage.work, AttackStage):
            assert (stage.work.dataset.chunk_size, stage.work.dataset.chunk_index) == (100, 1)
        if isinstance(stage.work, ExposeStage):
            assert stage.work.recipe.warmup_steps == stage.work.recipe.steps // 5
            assert stage.work.recipe.num_models == (16 if stage.work.source == "shadow" else 5)
            assert stage.work.recipe.labels == ("soft" if stage.work.source == "distilled" else "hard")


def test_chunks_part_the_training_images_and_shadows_get_the_others(tmp_path):
    digits = read_digits()
    seen = []
    for index in range(3):
        table = Dataset(name="digits", chunk_size=400, chunk_index=index)
        members = load_dataset(table, tmp_path, tmp_path)
        others = load_outside(table, tmp_path, tmp_path)
        assert (members.info.num_train, len(others.train_labels)) == (400, 1437 - 400)
        assert members.info.num_test == 360
        both = np.concatenate([members.train_images, others.train_images])
        assert sorted(map(bytes, both)) == sorted(map(bytes, digits.train_images))
        np.testing.assert_array_equal(others.preprocess.mean, members.preprocess.mean)
        seen += map(bytes, members.train_images)
    assert len(seen) == 1200
    with pytest.raises(FrepoError, match="at most 3 such chunks fit"):
        load_dataset(Dataset(name="digits", chunk_size=400, chunk_index=3), tmp_path, tmp_path)


def test_whitened_shadow_images_are_whitened_as_the_members_are(tmp_path):
    table = Dataset(name="digits", chunk_size=400, chunk_index=0, preprocess={"type": "zca"})
    members, others = (load(table, tmp_path, tmp_path) for load in (load_dataset, load_outside))
    plain = load_outside(table.model_copy(update={"preprocess": Dataset(name="digits").preprocess}), tmp_path, tmp_path)
    np.testing.assert_allclose(others.train_images, members.preprocess.apply(plain.train_images), atol=1e-5)


def attacked(memorised, loss="mse", attacks=ALL_ATTACKS):
    """Return the scores of each attack on a network that memorised a share of what it gets wrong about its members."""
    random = np.random.default_rng(3)
    n, shadows, classes = 400, 8, 4
    names = random.integers(0, classes, (2, n))
    hard = random.normal(size=(2, n))  # some images are harder than others, for every network

    def logits(side, extra):
        out = random.normal(size=(n, classes)) * 0.2
        out[np.arange(n), names[side]] += 0.5 * hard[side]
        truth = np.eye(classes)[names[side]] - 1 / classes
        return ((1 - extra) * out + extra * truth).astype(np.float32)

    target = Exposure(logits(0, memorised)[None], names[0], logits(1, 0.0)[None], names[1])
    shadow = Exposure(
        np.stack([logits(0, 0.0) for _ in range(shadows)]),
        names[0],
        np.stack([logits(1, 0.0) for _ in range(shadows)]),
        names[1],
    )
    work = AttackStage(seed=0, chunk_index=0, train_steps=10, source="members", loss=loss, attacks=attacks)
    return {row["attack"]: row for row in attack_networks(work, target, shadow)}


def test_a_network_that_memorised_its_members_is_found_out_by_every_attack():
    for attack, row in attacked(memorised=0.97).items():
        assert row["auc"] > 0.97, attack
        assert row["advantage"] > 0.85, attack


def test_networks_trained_with_cross_entropy_are_attacked_by_it():
    attacks = ("threshold", "lira")
    by_loss = [attacked(0.5, loss=loss, attacks=attacks) for loss in ("mse", "xent")]
    for attack in attacks:
        squared, crossed = (rows[attack]["auc"] for rows in by_loss)
        assert squared != crossed
        assert min(squared, crossed) > 0.6


def test_a_network_that_never_saw_the_members_tells_nothing():
    for attack, row in attacked(memorised=0.0).items():
        assert row["auc_low"] <= 0.5 <= row["auc_high"], attack
        assert (row["members"], row["non_members"]) == (400, 400)


def test_lira_has_as_many_true_positives_as_false_ones_where_nothing_is_to_be_found():
    # Networks differ much on one image in a hundred. Which side has more of these says nothing of membership.
    n, shadows, found = 200, 8, []
    work = AttackStage(seed=0, chunk_index=0, train_steps=10, source="members", loss="mse", attacks=("lira",))
    names = np.zeros(n, int)
    for seed in range(200):
        random = np.random.default_rng([4, seed])
        spread = np.where(random.random(2 * n) < 0.01, 3.0, 0.1)
        margins = random.normal(0.4, 0.2, 2 * n) + spread * random.normal(size=(1 + shadows, 2 * n))
        logits = np.stack([margins, np.zeros_like(margins)], axis=-1).astype(np.float32)
        target, shadow = (Exposure(part[:, :n], names, part[:, n:], names) for part in (logits[:1], logits[1:]))
        found += [row["tpr_at_1_in_100"] for row in attack_networks(work, target, shadow)]
    assert len(found) == 200
    assert np.mean(found) == pytest.approx(0.01, abs=0.002)


def test_a_chunk_goes_with_its_index_and_lengths_take_the_place_of_steps():
    with pytest.raises(ValueError, match="chunk_size and chunk_index go together"):
        Dataset(name="digits", chunk_size=3)
    with pytest.raises(ValueError, match="train_steps lists the training lengths"):
        plan(steps=1000)
    with pytest.raises(ValueError, match="names an entry twice"):
        plan(train_steps=[10, 10])
