"""`frepo data list`: known and prepared data sets."""

from pathlib import Path

from frepo.data.sources.hub import hub_sets
from frepo.data.sources.known import KNOWN
from frepo.data.sources.places import elsewhere, names_in, prepared_in
from frepo.progress import note

CITATION = "to cite"
COLUMNS = ("name", "classes", "train", "test", "pixels", "comes from", "licence", CITATION, "prepared in")


def catalog(data_dir: Path) -> list[tuple[object, ...]]:
    """Return a row of `COLUMNS` for each known data set, and for each other one of the Hub or TFDS in `data_dir`.

    If nothing is prepared there, a note names a directory nearby that may be meant.
    """
    rows: list[tuple[object, ...]] = []
    for name, known in KNOWN.items():
        facts = (known.classes, known.train, known.test, known.pixels, known.comes_from, known.licence, known.citation)
        rows.append((name, *facts, _prepared_in(name, data_dir)))
    for name, licence, citation, directory in hub_sets(data_dir):
        rows.append((name, None, None, None, "", "Hub", licence, citation, str(directory)))
    families = {name.partition("/")[0] for name in KNOWN}
    there = names_in(data_dir)
    for name in there:
        if name.partition("/")[0] not in families:
            rows.append((name, None, None, None, "", "TFDS", "", "", _prepared_in(name, data_dir)))
    other = None if there else elsewhere(data_dir)
    if other is not None:
        note(f"nothing is prepared in {data_dir}, but {', '.join(other[1])} in {other[0]}: --data-dir {other[0]}")
    return rows


def _prepared_in(name: str, data_dir: Path) -> str:
    return str(prepared_in(name, data_dir) or "")
