"""Reasons to doubt the numbers of a run."""

from typing import Any

FEW = 3
"""A std over fewer networks, seeds or chunks says little."""


def caveats(run: dict[str, Any], accuracies: list[dict[str, Any]]) -> list[str]:
    """Return a sentence for each reason, from a row of `report_runs` and its rows of `accuracy_table`."""
    found: list[str] = []
    parts_of = {stage: [_made_by(attempt) for attempt in _lasting(all_)] for stage, all_ in run["attempts"].items()}
    if run["status"] != "done":
        found.append(f"The run is not finished ({run['status']}); results may be missing.")
    if any(part["uncommitted changes"] for parts in parts_of.values() for part in parts):
        found.append("It was computed with uncommitted changes: the commit alone does not give these numbers again.")
    found.extend(_parts_differ(stage, parts) for stage, parts in parts_of.items() if len(_different(parts)) > 0)
    counts = {row["num_models"] for row in accuracies}
    if 1 in counts:
        found.append("Accuracies of a single network have no std: another seed may give quite another number.")
    few = sorted(count for count in counts if 1 < count < FEW)
    if few:
        found.append(f"Some stds are over {few[0]} networks only.")
    parts = ((run["num_seeds"], "seed", "seeds"), (run["num_chunks"], "chunk", "chunks"))
    for count, one, several in parts:
        if count == 1:
            found.append(f"It has a single {one}: another may give quite other numbers.")
        elif count and count < FEW:
            found.append(f"Its stds are over {count} {several} only.")
    if run["method"] == "imported":
        found.append("The images were learned elsewhere; whether test data had a part in it is not known here.")
    return found


def _lasting(attempts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the attempts of a stage whose steps went into its result; the last one may have had none left to take."""
    known = [attempt for attempt in attempts if attempt["last_step"] is not None]
    return [attempt for attempt in known if attempt["last_step"] > attempt["first_step"] or attempt is attempts[-1]]


def _made_by(attempt: dict[str, Any]) -> dict[str, Any]:
    """Return by name all that the numbers of an attempt depend on besides spec and data, as far as its record tells."""
    provenance = attempt["provenance"]
    code = provenance.get("code") or {}
    return {
        "uncommitted changes": code.get("dirty"),
        "device": attempt["device"],
        "frepo": provenance.get("frepo"),
        "commit": code.get("commit"),
        "code": code.get("sha256"),
        **provenance.get("packages", {}),
        **provenance.get("numerics", {}),
    }


def _different(parts: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return by name the values that are not the same in all parts, in their order."""
    names = dict.fromkeys(name for part in parts for name in part)
    texts = {name: list(dict.fromkeys(_text(part.get(name)) for part in parts)) for name in names}
    return {name: values for name, values in texts.items() if len(values) > 1}


def _text(value: Any) -> str:
    return "not set" if value is None else str(value)[:60]


def _parts_differ(stage: str, parts: list[dict[str, Any]]) -> str:
    differences = "; ".join(f"{name}: {', then '.join(values)}" for name, values in _different(parts).items())
    return f"{stage} was computed in parts that differ, so that no single one would give its numbers: {differences}."
