"""The whole spec: the run-level fields and the tables."""

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from frepo.spec.application import Application, Continual, CrossArchitecture, Evaluate, Membership
from frepo.spec.architecture import Architecture, Conv, require_groups_to_divide
from frepo.spec.dataset import Dataset
from frepo.spec.distill import Distill, Full, method_tables
from frepo.spec.pool import Pool
from frepo.spec.recipe import is_never_mirrored
from frepo.spec.table import Seed, Table

NAME = r"^[A-Za-z0-9][A-Za-z0-9._\-]*$"
NAME_PART = r"^[A-Za-z0-9._\-]+$"
"""Of an experiment: a directory is named so."""
LONGEST_NAME = 100


class ExperimentSpec(Table):
    """A dataset-distillation experiment: the content of the result, not the way to compute it."""

    name: Annotated[str, Field(pattern=NAME, max_length=LONGEST_NAME)]
    """Name of the experiment; its results go to `runs/<name>/`."""

    seed: Seed = 0
    """Seed of all randomness of the experiment."""

    dataset: Dataset
    """The images to distill."""

    architecture: Architecture = Conv()
    """The network whose features the regression uses, and which is evaluated."""

    distill: Distill
    """The method that makes the distilled data, chosen by `method`."""

    pool: Pool = Pool()
    """The pool of networks that `method = "frepo"` trains during distillation."""

    application: Annotated[tuple[Application, ...], Field(strict=False)] = ()
    """Uses of the distilled data, in this order."""

    @field_validator("pool")
    @classmethod
    def pool_must_be_read(cls, pool: Pool, info: ValidationInfo) -> Pool:
        """Reject a `[pool]` that nothing would read; with imported images it may record how they were made."""
        distill = info.data.get("distill")
        if distill and (isinstance(distill, Full) or not ("pool" in distill.reads or distill.learned == "elsewhere")):
            readers = " and ".join(f"'{name}'" for name, table in method_tables().items() if "pool" in table.reads)
            raise ValueError(f"[pool] is read by method = {readers} only: remove it, or change [distill] method")
        return pool

    @field_validator("application")
    @classmethod
    def groups_must_divide_width(cls, value: tuple[Application, ...], info: ValidationInfo) -> tuple[Application, ...]:
        """Reject evaluated networks that group normalisation cannot split."""
        for application in value:
            match application:
                case CrossArchitecture():
                    for network in application.networks():
                        require_groups_to_divide(network, network.normalization)
                case _ if "architecture" in info.data:
                    require_groups_to_divide(info.data["architecture"], application.normalization)
                case _:
                    pass
        return value

    @field_validator("application")
    @classmethod
    def mirror_images_must_keep_their_class(
        cls, value: tuple[Application, ...], info: ValidationInfo
    ) -> tuple[Application, ...]:
        """Reject mirror images of digits and of other things that are something else mirrored."""
        dataset = info.data.get("dataset")
        if dataset and is_never_mirrored(dataset.name) and any(entry.mirrored for entry in value):
            raise ValueError(f"mirror images of {dataset.name} are not of their class: set mirrored = false")
        return value

    @field_validator("application")
    @classmethod
    def choices_need_validation_data(
        cls, value: tuple[Application, ...], info: ValidationInfo
    ) -> tuple[Application, ...]:
        """Reject a choice of learning rates without held-out training images: test data never chooses."""
        distill = info.data.get("distill")
        if distill and distill.validation_fraction is None and any(entry.learning_rates for entry in value):
            raise ValueError(
                "learning_rates are chosen by held-out training images: set validation_fraction = 0.1 in [distill]"
            )
        return value

    @field_validator("application")
    @classmethod
    def there_must_be_something_to_compare(
        cls, value: tuple[Application, ...], info: ValidationInfo
    ) -> tuple[Application, ...]:
        """Reject scores of distilled images, and baselines of equal size, if all real images are used."""
        if isinstance(info.data.get("distill"), Full):
            for application in value:
                if not isinstance(application, Evaluate | CrossArchitecture) or application.baselines:
                    raise ValueError(
                        "method = 'full' uses all real images: there is no distilled data to score or remember, and no "
                        f"number of images to choose; remove type = '{application.type}' or its baselines, or change "
                        "[distill] method"
                    )
        return value

    @field_validator("application")
    @classmethod
    def an_application_that_splits_the_data_needs_all_of_it(
        cls, value: tuple[Application, ...], info: ValidationInfo
    ) -> tuple[Application, ...]:
        """Reject a data set whose classes or images are already restricted, or images that were made from all of it."""
        dataset = info.data.get("dataset")
        for application in value:
            if not isinstance(application, Continual | Membership) or dataset is None:
                continue
            taken = "classes" if isinstance(application, Continual) else "chunk_size"
            if getattr(dataset, taken) is not None or dataset.preprocess.fitted_to is not None:
                raise ValueError(f"type = '{application.type}' sets {taken} of [dataset] for each part: remove it")
            distill = info.data.get("distill")
            if distill and not isinstance(distill, Full) and distill.learned == "elsewhere":
                raise ValueError(
                    f"type = '{application.type}' distils parts of the data, which imported images are not"
                )
        return value
