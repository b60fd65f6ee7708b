"""From the name of a run to an export of it."""

from pathlib import Path

from frepo.exchange.export.collect import collect
from frepo.exchange.export.evolution import write_evolution
from frepo.exchange.export.find import find_run, find_stage
from frepo.exchange.export.formats import Format
from frepo.exchange.export.write import refuse_existing, write
from frepo.runtime import RuntimeOptions


def export_run(name: str, kind: Format, out: Path, options: RuntimeOptions, stage: str | None = None) -> Path:
    """Write the distilled data of the newest run of `name`, or of the run with that id, to the new directory `out`.

    `stage` is the label of the stage that made it; None for the one of the spec's `[distill]`. Returns `out`. The
    animations need no data set, all other formats take their preprocessing from it.

    Raises:
        FrepoError: there is no such run, it is not finished, its data set is not there, or `out` is not empty or cannot
            be written.
        Interrupted: a signal came while the data set was prepared.
    """
    refuse_existing(out)
    found = find_stage(*find_run(options.runs_dir, name), stage)
    if kind == "webp" or kind == "gif":
        write_evolution(found, kind, out)
    else:
        write(collect(found, options.tfds_dir, options.cache_dir), kind, out)
    return out
