"""Tables of sweeps, and rows as LaTeX and Markdown."""

import csv
import io
import itertools
import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from frepo.cli import app
from frepo.errors import FrepoError, SpecError
from frepo.rundir import record
from frepo.store.fields import field_of, in_order
from frepo.store.ingest import ingest
from frepo.store.pivot import make_pivot
from frepo.store.pivot_text import pivot_text
from frepo.store.text import Rows, format_rows

SCORES = {
    ("frepo", 1): [(0.50, 0.52), (0.55, 0.56), (0.48, 0.51)],
    ("dm", 1): [(0.40, 0.41), (0.42, 0.47), (0.45, 0.40)],
    ("frepo", 10): [(0.70, 0.71), (0.72, 0.75), (0.69, 0.70)],
    ("dm", 10): [(0.80, 0.82)],
}
"""Top-1 of two networks for each seed of each method and number of images."""
RANDOM = (0.2, 0.25)


@pytest.fixture(scope="module")
def db(fake_runs_in, tmp_path_factory):
    """A sweep of CIFAR-10, and a run beside it."""
    path = tmp_path_factory.mktemp("sweep")
    fake = fake_runs_in(path / "runs")
    cifar = {"dataset": {"name": "cifar10"}, "image_shape": (32, 32, 3)}
    for (method, ipc), seeds in SCORES.items():
        for seed, top1 in enumerate(seeds):
            swept = {"distill.method": method, "distill.ipc": ipc, "seed": seed}
            tables = {"distill": {"method": method, "ipc": ipc}}
            name = f"grid-{method}-ipc{ipc}-seed{seed}"
            fake(name, seed=seed, scores=(top1, RANDOM), tables=tables, sweep="grid", swept=swept, **cifar)
    fake("alone", seed=7, scores=((0.9,), RANDOM), ipc=1, **cifar)
    ingest(path / "x.duckdb", fake.runs_dir)
    return path / "x.duckdb"


def table(db, style="csv", *, name="grid", rows="method", columns="ipc", source="own", **where):
    return pivot_text(make_pivot(db, name, rows.split(","), columns.split(","), source=source, where=where), style)


def long(db, **given):
    return json.loads(table(db, "json", **given))


def test_each_cell_is_the_mean_over_seeds(db):
    own = {(row["method"], row["ipc"]): row for row in long(db) if row["published"] is None}
    assert own.keys() == SCORES.keys()
    for key, scores in SCORES.items():
        means = np.mean(scores, axis=1)
        assert own[key]["top1_mean"] == pytest.approx(np.mean(means))
        several = len(scores) > 1
        assert own[key]["top1_std"] == pytest.approx(np.std(means if several else scores[0], ddof=1))
        assert own[key]["over"] == ("seeds" if several else "networks")
        assert (own[key]["num_seeds"], own[key]["num_models"]) == (len(scores), 2)


TEXT = """\
method            ipc 1       ipc 10
----------------  ----------  -----------
dm                42.5 ± 2.0  81.0 ± 1.4†
frepo             52.0 ± 3.1  71.2 ± 2.1
published: frepo  46.8 ± 0.7  65.5 ± 0.4

Top-1 test accuracy in percent, mean ± std over 3 seeds, each the mean of 2 networks. † one seed, ± is the std over \
its 2 networks. Published numbers are from comparison tables of the PAD paper (2024).
"""

LATEX = r"""% needs \usepackage{booktabs}
\begin{table}
  \centering
  \caption{Top-1 test accuracy in percent, mean $\pm$ std over 3 seeds, each the mean of 2 networks. \textdagger{} one seed, $\pm$ is the std over its 2 networks. Published numbers are from comparison tables of the PAD paper (2024). Bold: the best on the same data set and number of images.}
  \begin{tabular}{lrr}
    \toprule
    method & ipc 1 & ipc 10 \\
    \midrule
    dm & 42.5 $\pm$ 2.0 & \textbf{81.0 $\pm$ 1.4\textdagger{}} \\
    frepo & \textbf{52.0 $\pm$ 3.1} & 71.2 $\pm$ 2.1 \\
    published: frepo & 46.8 $\pm$ 0.7 & 65.5 $\pm$ 0.4 \\
    \bottomrule
  \end{tabular}
\end{table}
"""  # noqa: E501

MARKDOWN = """\
| method | ipc 1 | ipc 10 |
|---|---:|---:|
| dm | 42.5 ± 2.0 | **81.0 ± 1.4†** |
| frepo | **52.0 ± 3.1** | 71.2 ± 2.1 |
| published: frepo | 46.8 ± 0.7 | 65.5 ± 0.4 |
"""


def test_the_table_as_text_as_latex_and_as_markdown(db):
    assert table(db, "table") == TEXT
    assert table(db, "latex") == LATEX
    assert table(db, "markdown").startswith(MARKDOWN)
    assert "Bold: " in table(db, "markdown")


def test_csv_has_a_row_for_each_cell_with_published_numbers_among_them(db):
    rows = list(csv.DictReader(io.StringIO(table(db))))
    assert [(row["method"], row["ipc"], row["published"]) for row in rows if row["published"]] == [
        ("frepo", "1", "frepo"),
        ("frepo", "10", "frepo"),
    ]
    assert {row["found_in"] for row in rows if row["published"]} == {"comparison tables of the PAD paper (2024)"}
    assert sum(not row["published"] for row in rows) == 4


def test_seeds_of_runs_outside_the_sweep_are_left_out(db):
    assert {row["num_seeds"] for row in long(db) if row["method"] == "frepo" and not row["published"]} == {3}
    (alone, published) = long(db, name="alone")
    assert (alone["num_seeds"], alone["num_models"], alone["top1_std"]) == (1, 1, None)
    assert published["published"] == "frepo"
    assert "one seed and one network" in table(db, "table", name="alone")


def test_a_table_by_seed_has_networks_only(db):
    rows = [row for row in long(db, rows="method,seed") if row["published"] is None]
    assert len(rows) == 10
    assert {row["over"] for row in rows} == {"networks"}
    (row,) = [row for row in rows if (row["method"], row["ipc"], row["seed"]) == ("dm", 1, 2)]
    assert row["top1_mean"] == pytest.approx(np.mean(SCORES["dm", 1][2]))
    assert long(db, seed="1", method="dm")[0]["top1_mean"] == pytest.approx(np.mean(SCORES["dm", 1][1]))


def test_other_sources_are_asked_for_or_are_a_field(db):
    assert {row["top1_mean"] for row in long(db, source="random") if not row["published"]} == {np.mean(RANDOM)}
    lines = table(db, "markdown", rows="source,method", ipc="10").splitlines()
    assert [re.split(r" ?\| ?", line)[1:3] for line in lines[2:8]] == [
        ["distilled", "dm"],
        ["distilled", "frepo"],
        ["distilled", "published: frepo"],
        ["random", "dm"],
        ["random", "frepo"],
        ["random", "published: random"],
    ]


def test_where_a_row_is_a_data_set_the_best_of_the_row_is_bold(db):
    line = table(db, "markdown", rows="dataset", columns="method", ipc="1").splitlines()[2]
    assert line == "| cifar10 | 42.5 ± 2.0 | **52.0 ± 3.1** |"
    assert "**" not in table(db, "markdown", rows="dataset", method="dm")


def test_cells_that_were_not_run_stay_empty(db):
    lines = table(db, "markdown", rows="seed", method="dm").splitlines()
    assert lines[2:5] == ["| 0 | 40.5 ± 0.7 | 81.0 ± 1.4 |", "| 1 | **44.5 ± 3.5** |  |", "| 2 | 42.5 ± 3.5 |  |"]


def test_a_cell_of_several_accuracies_is_refused_with_the_fields_that_differ(db):
    with pytest.raises(
        SpecError, match=r"dataset = cifar10, ipc = 1 .* 2 accuracies.* differ in method \(.*\): add one"
    ):
        table(db, rows="dataset")
    with pytest.raises(SpecError, match=r"choose, for example --where method="):
        table(db, rows="dataset")


def test_experiments_that_differ_in_no_field_are_refused_with_their_specs(fake_runs, tmp_path):
    for steps in (700, 800):
        fake_runs(f"s{steps}", tables={"distill": {"steps": steps}}, sweep="odd")
    ingest(tmp_path / "x.duckdb", fake_runs.runs_dir)
    with pytest.raises(SpecError, match=r"differ in distill.steps: (700 -> 800|800 -> 700): make these an axis"):
        table(tmp_path / "x.duckdb", name="odd")


def test_evaluations_that_differ_in_a_column_are_refused_with_it(fake_runs, tmp_path):
    crossed = [{"type": "cross_architecture", "architectures": [{"width": 8}, {"width": 16}]}]
    fake_runs("x", application=crossed, scores=((0.5,), (0.75,)))
    ingest(tmp_path / "x.duckdb", fake_runs.runs_dir)
    with pytest.raises(SpecError, match=r"differ in width \(8, 16\).*--where width=8"):
        table(tmp_path / "x.duckdb", name="x")
    assert [row["top1_mean"] for row in long(tmp_path / "x.duckdb", name="x", columns="width")] == [0.5, 0.75]
    assert [row["top1_mean"] for row in long(tmp_path / "x.duckdb", name="x", width="16")] == [0.75]


def test_only_the_newest_run_of_a_name_counts(fake_runs, tmp_path):
    fake_runs("x", application=[{"type": "evaluate"}], scores=((0.5,),), sweep="s")
    _, run = fake_runs("y", application=[{"type": "evaluate"}], scores=((0.25,),), sweep="s", seed=1)
    later = run.created.replace(year=2030)
    tables = {"distill": {"steps": 800}}
    for seed, name in enumerate("xy"):
        alone = [{"type": "evaluate"}]
        fake_runs(name, application=alone, scores=((0.75,),), sweep="s", seed=seed, tables=tables, created=later)
    ingest(tmp_path / "x.duckdb", fake_runs.runs_dir)
    (row,) = long(tmp_path / "x.duckdb", name="s")
    assert (row["top1_mean"], row["num_seeds"]) == (0.75, 2)


ALONE = [{"type": "evaluate"}]


def test_an_experiment_at_several_places_of_a_sweep_fills_the_cell_of_each(fake_runs, tmp_path):
    path = tmp_path / "x.duckdb"
    for case, seed in itertools.product(("one", "other"), (0, 1)):
        swept = {"case": case, "seed": seed}
        score = 0.25 + seed / 2
        fake_runs(f"{case}{seed}", seed=seed, application=ALONE, scores=((score,),), sweep="s", swept=swept)
    ingest(path, fake_runs.runs_dir)
    rows = long(path, name="s", rows="case")
    assert [(row["case"], row["top1_mean"], row["num_seeds"]) for row in rows] == [("one", 0.5, 2), ("other", 0.5, 2)]
    rows = long(path, name="s", rows="case", columns="seed")
    assert [(row["case"], row["seed"], row["top1_mean"]) for row in rows] == [
        *(("one", 0, 0.25), ("one", 1, 0.75), ("other", 0, 0.25), ("other", 1, 0.75)),
    ]
    assert [row["case"] for row in long(path, name="s", rows="case", case="other")] == ["other"]
    assert [row["num_seeds"] for row in long(path, name="s")] == [2], "it is one accuracy where no field parts them"


def test_a_sweep_and_a_run_of_one_name_are_not_mixed(fake_runs, tmp_path):
    path, spec = tmp_path / "x.duckdb", tmp_path / "any.toml"
    _, run = fake_runs("both-1", application=ALONE, scores=((0.25,),), sweep="both", swept={"seed": 0})
    later = run.created.replace(year=2030)
    fake_runs("both", application=ALONE, scores=((0.75,),), seed=1, created=later)
    fake_runs("both-1", application=ALONE, scores=((0.5,),), seed=2, created=later, sweep="other")
    ingest(path, fake_runs.runs_dir)
    (row,) = long(path, name="both")
    assert (row["top1_mean"], row["num_seeds"]) == (0.25, 1)
    spec.write_text('name = "both"\n[dataset]\nname = "digits"\n[distill]\nmethod = "frepo"\nipc = 1\n')
    given = ["--rows", "method", "--columns", "ipc", "--format", "json", "--db", str(path)]
    (row,) = json.loads(CliRunner().invoke(app, ["table", str(spec), *given]).output)
    assert row["top1_mean"] == 0.75


def test_own_images_of_runs_that_have_baselines_only_are_refused(fake_runs, tmp_path):
    plan, _ = fake_runs("x")
    (fake_runs.directory("x", plan.stages[1]) / record.EVALUATIONS).unlink()
    ingest(tmp_path / "x.duckdb", fake_runs.runs_dir)
    with pytest.raises(SpecError, match=r"made or chosen itself; there are random: .* for example --source random"):
        table(tmp_path / "x.duckdb", name="x")
    assert len(long(tmp_path / "x.duckdb", name="x", source="random")) == 1


def test_a_value_is_chosen_as_it_is_shown_or_as_a_number_is_written(fake_runs, tmp_path):
    path = tmp_path / "x.duckdb"
    for ipc, flip, rate in ((1, True, 1e-4), (2, False, 0.5)):
        swept = {"pool.flip": flip, "distill.learning_rate": rate}
        fake_runs(f"x{ipc}", ipc=ipc, application=ALONE, scores=((0.5,),), sweep="s", swept=swept)
    ingest(path, fake_runs.runs_dir)
    for where in ({"flip": "true"}, {"learning_rate": "1e-4"}, {"learning_rate": "0.0001"}):
        assert [row["ipc"] for row in long(path, name="s", **where)] == [1]
    with pytest.raises(SpecError, match="flip is nowhere `1`; there are true, false"):
        table(path, name="s", flip="1")


def test_an_ablation_names_its_published_number_once(fake_runs, tmp_path):
    cifar = {"dataset": {"name": "cifar10"}, "image_shape": (32, 32, 3), "application": [{"type": "evaluate"}]}
    for size in (2, 10):
        fake_runs(
            f"p{size}",
            scores=((size / 20,),),
            tables={"pool": {"size": size}},
            sweep="a",
            swept={"pool.size": size},
            **cifar,
        )
    ingest(tmp_path / "x.duckdb", fake_runs.runs_dir)
    lines = table(tmp_path / "x.duckdb", "markdown", name="a", rows="size").splitlines()
    assert lines[:5] == [
        "| size | ipc 1 |",
        "|---|---:|",
        "| 2 | 10.0 |",
        "| 10 | **50.0** |",
        "| published: frepo | 46.8 ± 0.7 |",
    ]


def test_values_are_ordered_as_numbers_where_they_are():
    assert in_order([(10, "b"), (9, "a"), (None, "b"), (10, "b")]) == [(9, "a"), (10, "b"), (None, "b")]


@pytest.mark.parametrize(
    ("name", "found"), [("ipc", "distill.ipc"), ("pool.size", "pool.size"), ("width", "width"), ("seed", "seed")]
)
def test_fields_are_axes_by_their_last_component_or_columns(name, found):
    assert field_of(name, ["distill.ipc", "pool.size", "seed"]).name == found


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rows": "metod"}, r"no field `metod`, did you mean `method`\?; known are distill.method, distill.ipc"),
        ({"source": "herding"}, "no networks were trained on `herding`; there are distilled, random"),
        ({"ipc": "11"}, "ipc is nowhere `11`; there are 1, 10"),
    ],
)
def test_a_wrong_field_or_value_is_named_with_those_that_there_are(db, given, message):
    with pytest.raises(SpecError, match=message):
        table(db, **given)


def test_a_short_name_of_two_axes_is_refused():
    with pytest.raises(SpecError, match=r"several axes of the sweep: write distill.steps or pool.steps"):
        field_of("steps", ["distill.steps", "pool.steps"])


def test_an_unknown_sweep_is_named_with_the_one_that_is_near(db):
    with pytest.raises(FrepoError, match=r"no sweep and no run `gird` in .*, did you mean `grid`\?"):
        table(db, name="gird")


def test_a_sweep_without_accuracies_says_so(fake_runs, tmp_path):
    fake_runs("empty", application=[], scores=())
    ingest(tmp_path / "x.duckdb", fake_runs.runs_dir)
    with pytest.raises(FrepoError, match=r"`empty` have no accuracies .* yet"):
        table(tmp_path / "x.duckdb", name="empty")


SPEC = """name = "grid"
[dataset]
name = "cifar10"
[distill]
method = "frepo"
ipc = 1
[sweep]
"distill.method" = ["frepo", "dm"]
"distill.ipc" = [1, 10]
seed = [0, 1, 2]
"""


def test_the_command_takes_a_file_or_a_name(db, tmp_path):
    spec = tmp_path / "any.toml"
    spec.write_text(SPEC)
    given = ["--rows", "method", "--columns", "ipc", "--format", "latex", "--db", str(db)]
    for argument in ("grid", str(spec)):
        assert CliRunner().invoke(app, ["table", argument, *given]).output == LATEX
    found = CliRunner().invoke(app, ["table", "grid", *given, "--where", "method=dm", "--where", "seed=0"])
    assert "published" not in found.output
    assert "40.5" in found.output


def test_runs_that_a_file_does_not_have_any_more_are_left_out(db, tmp_path):
    spec = tmp_path / "any.toml"
    spec.write_text(SPEC.replace("[0, 1, 2]", "[0, 2]"))
    given = ["--rows", "method", "--columns", "ipc", "--format", "json", "--db", str(db)]
    rows = json.loads(CliRunner().invoke(app, ["table", str(spec), *given]).output)
    (row,) = [row for row in rows if (row["method"], row["ipc"], row["published"]) == ("dm", 1, None)]
    assert (row["num_seeds"], row["top1_mean"]) == (2, pytest.approx(np.mean([SCORES["dm", 1][i] for i in (0, 2)])))


def test_a_file_none_of_whose_runs_are_there_says_so(db, tmp_path):
    spec = tmp_path / "any.toml"
    given = ["--rows", "method", "--columns", "ipc", "--db", str(db)]
    for name, message in (
        ("grid", r"no run of `grid` as its file is now.* `frepo table grid`"),
        ("new", "no sweep and"),
    ):
        spec.write_text(SPEC.replace("[0, 1, 2]", "[5]").replace('"grid"', f'"{name}"'))
        with pytest.raises(FrepoError, match=message):
            CliRunner().invoke(app, ["table", str(spec), *given], catch_exceptions=False)


def test_a_file_of_one_experiment_is_its_run(db, tmp_path):
    spec = tmp_path / "any.toml"
    spec.write_text(SPEC.partition("[sweep]")[0].replace('"grid"', '"alone"'))
    given = ["--rows", "method", "--columns", "ipc", "--format", "markdown", "--db", str(db)]
    assert "| frepo | 90.0 |" in CliRunner().invoke(app, ["table", str(spec), *given]).output


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("name = \n", [], "any.toml:1: not valid TOML"),
        (None, [], "any.toml: no such file"),
        (SPEC, ["--where", "ipc"], "write field=value"),
        (SPEC, ["--where", "source=random"], "write --source random"),
    ],
)
def test_a_mistake_of_the_command_line_is_explained(db, tmp_path, text, more, message):
    spec = tmp_path / "any.toml"
    if text is not None:
        spec.write_text(text)
    given = ["table", str(spec), "--rows", "method", "--columns", "ipc", "--db", str(db), *more]
    with pytest.raises(SpecError, match=message):
        CliRunner().invoke(app, given, catch_exceptions=False)


ODD = Rows(("name_x", "n", "a|b"), (("50% & $5 {x} ~^\\ #1 <b>", 1, "_em_ *x* a_b"), ("[ü] ± x", 2.5, None)))


def test_latex_is_escaped():
    assert format_rows(ODD, "latex") == (
        "% needs \\usepackage{booktabs}\n"
        "\\begin{tabular}{lrl}\n"
        "  \\toprule\n"
        "  name\\_x & n & a\\textbar{}b \\\\\n"
        "  \\midrule\n"
        "  50\\% \\& \\$5 \\{x\\} \\textasciitilde{}\\textasciicircum{}\\textbackslash{} \\#1 "
        "\\textless{}b\\textgreater{} & 1 & \\_em\\_ {*}x{*} a\\_b \\\\\n"
        "  {[}ü] $\\pm$ x & 2.5 &  \\\\\n"
        "  \\bottomrule\n"
        "\\end{tabular}\n"
    )


def test_markdown_is_escaped():
    assert format_rows(ODD, "markdown").splitlines() == [
        "| name_x | n | a\\|b |",
        "|---|---:|---|",
        "| 50% & $5 {x} ~^\\\\ #1 \\<b> | 1 | \\_em\\_ \\*x\\* a_b |",
        "| \\[ü] ± x | 2.5 |  |",
    ]


def test_no_character_that_latex_reads_is_left(db):
    text = format_rows(Rows(("a",), (("".join(map(chr, range(32, 127))),),)), "latex")
    (cell,) = [line for line in text.splitlines() if "ABC" in line]
    body = cell.strip().removesuffix(r" \\")
    left = re.sub(r"\\text\w+\{\}|\\[%&#$_{}]|\{\[\}|\{\*\}", "", body)
    assert not set(left) & set("\\%&#$_{}~^<>|[*")
