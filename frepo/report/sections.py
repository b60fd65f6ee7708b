"""The results of a run, as tables and charts of its page."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from frepo.report.charts import HEIGHT, WIDTH, Chart, by_line, first_lines, lines
from frepo.report.gather import RunData, titles
from frepo.spec import method_tables
from frepo.store.tables import network_text, source_text

RowDict = dict[str, Any]

BAR = 14
"""Height of a bar in pixels."""

CURVES = {
    **{name: metric for table in method_tables().values() for name, metric in table.metrics.items()},
    "train_loss": ("Training loss of the evaluated networks (mean)", "loss", True),
    "test_accuracy": ("Test accuracy of the evaluated networks (mean)", "share right", False),
    "validation_accuracy": ("Accuracy on held-out training images", "share right", False),
}
"""Metric -> (title, axis, whether the axis is logarithmic)."""

SETTINGS = ("steps", "learning_rate", "loss", "optimizer", "augmentation", "augmentation_mode")
"""Settings that can tell apart networks of one kind trained on the same data."""


@dataclass(frozen=True)
class Matrix:
    """Accuracies across architectures: networks down, sources of data across."""

    sources: list[str]
    rows: list[tuple[str, list[RowDict | None]]]
    num_models: str
    chart: Chart


@dataclass(frozen=True)
class ContinualSection:
    """Class-incremental learning, by memory."""

    summary: list[RowDict]
    tasks: list[int]
    memories: dict[str, dict[int, RowDict]]
    """For each memory, the best on average first, its row of `continual_accuracy` after each task."""
    chart: Chart


@dataclass(frozen=True)
class MembershipSection:
    """Membership inference: a row for each attack and training length, a chart for each attack."""

    rows: list[RowDict]
    charts: list[Chart]


@dataclass(frozen=True)
class Results:
    """The results of a run; a section that it has no rows for is None."""

    curves: list[Chart]
    matrix: Matrix | None
    continual: ContinualSection | None
    membership: MembershipSection | None

    @property
    def charts(self) -> Iterator[Chart]:
        """All charts, in the order of the page."""
        if self.matrix:
            yield self.matrix.chart
        if self.continual:
            yield self.continual.chart
        if self.membership:
            yield from self.membership.charts
        yield from self.curves


def results(data: RunData) -> Results:
    """Return the results of a run."""
    return Results(
        training_curves(data.metrics, titles(data.stages)),
        cross_architecture_matrix(data.networks),
        continual_section(data.continual_steps, data.continual_summary),
        membership_section(data.attacks),
    )


def training_curves(metrics: list[RowDict], labels: dict[str, str]) -> list[Chart]:
    """Return a chart for each known metric, a line for each stage; `labels` names stages."""
    drawn: list[Chart] = []
    for name, (title, axis, logarithmic) in CURVES.items():
        rows = [
            {"step": row["step"], "value": row["value"], "stage": labels[row["stage"]]}
            for row in metrics
            if row["name"] == name and row["value"] is not None
        ]
        shown, subtitle = first_lines((row["stage"] for row in rows), "stages")
        rows = [row for row in rows if row["stage"] in shown]
        if len({row["step"] for row in rows}) > 1:  # else there is no line to draw
            drawn.append(_curve(name, rows, title, subtitle, axis, logarithmic=logarithmic))
    return drawn


def _curve(name: str, rows: list[RowDict], title: str, subtitle: str, axis: str, *, logarithmic: bool) -> Chart:
    logarithmic = logarithmic and all(row["value"] > 0 for row in rows)
    last = {row["stage"]: row for row in rows}
    ends = "; ".join(f"{stage} ends at {row['value']:.3g} at step {row['step']:,}" for stage, row in last.items())
    scale = {"type": "log" if logarithmic else "linear", "zero": False}
    small = "datum.value < 0.001 ? format(datum.value, '.0e') : datum.label"
    axis_labels = {"labelExpr": small} if logarithmic else {}
    drawing = {
        "width": WIDTH,
        "height": HEIGHT,
        "mark": {"type": "line", "strokeWidth": 1.5},
        "encoding": {
            "x": {"field": "step", "type": "quantitative", "title": "step", "axis": {"tickCount": 5}},
            "y": {"field": "value", "type": "quantitative", "title": axis, "scale": scale, "axis": axis_labels},
            **by_line("stage", rows),
        },
    }
    return Chart(name.replace("_", "-"), title, f"{axis} against the step: {ends}.", rows, drawing, subtitle)


def cross_architecture_matrix(found: list[RowDict]) -> Matrix | None:
    """Return the matrix of a run's rows of `cross_architecture`, or None without rows."""
    rows = _named([row for row in found if row["predictor"] == "network"])
    networks = list(dict.fromkeys(row["network"] for row in rows))
    if not rows:
        return None
    sources = list(dict.fromkeys(source_text(row) for row in rows))
    cells = {(row["network"], source_text(row)): row for row in rows}
    counts = sorted({row["num_models"] for row in rows})
    return Matrix(
        sources,
        [(network, [cells.get((network, source)) for source in sources]) for network in networks],
        " or ".join(map(str, counts)),
        _bars(list(cells.values()), networks, sources),
    )


def _named(rows: list[RowDict]) -> list[RowDict]:
    """Return rows with a text of their `network` that is unique among the rows trained on the same data."""
    names = told_apart(rows, list(map(network_text, rows)), list(map(source_text, rows)), (*SETTINGS, "stage"))
    return [{**row, "network": name} for row, name in zip(rows, names, strict=True)]


def told_apart(
    rows: Sequence[RowDict], names: list[str], places: Sequence[Hashable], settings: Sequence[str]
) -> list[str]:
    """Return the names of rows, with each setting added to a name that two rows of one place share but for it."""
    for setting in settings:
        values: dict[tuple[str, Hashable], set[Any]] = {}
        for row, name, place in zip(rows, names, places, strict=True):
            values.setdefault((name, place), set()).add(row[setting])
        alike = {name for (name, _), found in values.items() if len(found) > 1}
        label = f"{setting.replace('_', ' ')} " if setting != "network" else ""
        names = [
            f"{name}, {label}{row[setting]}" if name in alike else name for row, name in zip(rows, names, strict=True)
        ]
    return names


def _bars(rows: list[RowDict], networks: list[str], sources: list[str]) -> Chart:
    values = [
        {
            "network": row["network"],
            "source": source_text(row),
            "top1": 100 * row["top1_mean"],
            "low": 100 * (row["top1_mean"] - (row["top1_std"] or 0)),
            "high": 100 * (row["top1_mean"] + (row["top1_std"] or 0)),
        }
        for row in rows
    ]
    y = {"field": "network", "type": "nominal", "sort": networks, "title": None, "axis": {"labelLimit": 300}}
    offset = {"field": "source", "type": "nominal", "sort": sources}
    across = {"type": "quantitative", "title": "percent"}
    legend = {"orient": "bottom", "symbolType": "square"}
    drawing = {
        "width": 420,
        "height": {"step": BAR, "for": "offset"},
        "layer": [
            {
                "mark": {"type": "bar"},
                "encoding": {
                    "y": y,
                    "yOffset": offset,
                    "x": {"field": "top1", **across},
                    "color": {**offset, "title": None, "legend": legend},
                },
            },
            {
                "mark": {"type": "rule"},
                "encoding": {"y": y, "yOffset": offset, "x": {"field": "low", **across}, "x2": {"field": "high"}},
            },
        ],
    }
    return Chart(
        "across-architectures",
        "Top-1 across architectures, mean ± std over networks",
        f"A bar for each of {', '.join(networks)}, trained on {', '.join(sources)}.",
        values,
        drawing,
    )


def continual_section(rows: list[RowDict], summary: list[RowDict]) -> ContinualSection | None:
    """Return the section of rows of `continual_accuracy` and `continual_summary`, or None without rows."""
    if not summary:
        return None
    memories: dict[str, dict[int, RowDict]] = {source_text(row): {} for row in summary}
    for row in rows:
        memories.setdefault(source_text(row), {})[row["step"]] = row  # a course without its last task has no summary
    points = [
        {
            "x": row["step"],
            "y": 100 * row["accuracy_mean"],
            "std": 100 * (row["accuracy_std"] or 0),
            "line": name,
        }
        for name, memory in memories.items()
        for row in memory.values()
    ]
    chart = lines("continual", points, "Accuracy on all classes seen", "after task", "percent", logarithmic=False)
    return ContinualSection(summary, sorted({row["step"] for row in rows}), memories, chart)


def membership_section(rows: list[RowDict]) -> MembershipSection | None:
    """Return the section of rows of `attack_table`, or None without rows."""
    if not rows:
        return None
    ends = [(row["auc_mean"], row["auc_std"] or 0) for row in rows]
    domain = (min(0.5, *(mean - std for mean, std in ends)), max(mean + std for mean, std in ends))
    charts = [
        lines(
            f"auc-{attack.replace('_', '-')}",
            [
                {"x": r["train_steps"], "y": r["auc_mean"], "std": r["auc_std"] or 0, "line": r["source"]}
                for r in rows
                if r["attack"] == attack
            ],
            f"AUC of {attack.replace('_', ' ')}",
            "training steps",
            "AUC",
            logarithmic=True,
            domain=domain,
        )
        for attack in dict.fromkeys(row["attack"] for row in rows)
    ]
    return MembershipSection(rows, charts)
