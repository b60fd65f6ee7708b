"""The whole spec: the run-level fields and the tables."""

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from frepo.spec.application import Application
from frepo.spec.architecture import Conv, require_groups_to_divide
from frepo.spec.dataset import Dataset
from frepo.spec.distill import Distill, RandomSelection
from frepo.spec.pool import Pool
from frepo.spec.table import Table


class ExperimentSpec(Table):
    """A dataset-distillation experiment: what the result is, not how it is computed."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._\-]*$", max_length=100)]
    """Name of the experiment; its results go to `runs/<name>/`."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """All randomness of the experiment comes from this number."""

    dataset: Dataset
    """The images to distill."""

    architecture: Conv = Conv()
    """The network whose features are regressed on and which is evaluated."""

    distill: Distill
    """How the distilled data is made; `method` chooses."""

    pool: Pool = Pool()
    """The pool of networks that `method = "frepo"` trains alongside."""

    application: Annotated[tuple[Application, ...], Field(strict=False)] = ()
    """What is done with the distilled data, in this order."""

    @field_validator("pool")
    @classmethod
    def pool_must_be_read(cls, pool: Pool, info: ValidationInfo) -> Pool:
        """Reject a `[pool]` that nothing would read."""
        if isinstance(info.data.get("distill"), RandomSelection):
            raise ValueError("[pool] is read by method = 'frepo' only: remove it, or change [distill] method")
        return pool

    @field_validator("application")
    @classmethod
    def groups_must_divide_width(cls, value: tuple[Application, ...], info: ValidationInfo) -> tuple[Application, ...]:
        """Reject evaluated networks that group normalisation cannot split."""
        architecture = info.data.get("architecture")
        if isinstance(architecture, Conv):
            for application in value:
                require_groups_to_divide(architecture.width, application.normalization)
        return value
