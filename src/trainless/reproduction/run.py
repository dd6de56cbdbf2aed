"""All of `trainless reproduce thesis`: rows, studies, weights, mixes, and the files that hold them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from trainless.aggregation import HYBRID_PAIR, Sweep, cross_validate
from trainless.errors import InputError
from trainless.report import latex_table, markdown_table, several_studies_page, study_figures
from trainless.report.common.pages import environment
from trainless.reproduction.mixes import (
    COUNTS,
    THESIS_PROXIES,
    candidates,
    compare_mixes,
    everywhere,
    mix_sources,
    notable_mixes,
    own_mix_sources,
    sizes_of,
    thesis_mixes,
    worst_and_mean,
)
from trainless.reproduction.rows import (
    COLUMNS,
    OwnScores,
    ScoreSet,
    own_scores,
    own_scores_from_store,
    own_seconds,
    own_sets,
    published_sets,
    reproduce_rows,
)
from trainless.reproduction.thesis import BEST_WEIGHTS, DATASETS, RECORD, SUITE_ZERO_SPEARMAN, THESIS
from trainless.study import Study, make_study
from trainless.tables import BenchmarkTable, benchmark_table

__all__ = ["Reproduction", "compare_with_record", "reproduce_thesis", "study_weights"]

Progress = Callable[[int, int], None]

_CHOSEN_ON = "NB201 cifar100"
_ROUNDED = 4

_INTRODUCTION = """\
<p>The Hybrid proxy is 0.5 DIN + 1.5 DDN where DIN ≤ DDN, and DIN elsewhere: LogSynflow and NWOT, each divided by its
largest value. Its Kendall's τ with the accuracies that the thesis used, from published scores:
{{ taus|join(", ") }}. The tables set every figure of the thesis's tables 6.1 to 6.7 beside ours and name what
differs; the studies below them hold FreeREA's and our own scores of NAS-Bench-201 against the test accuracy, as the
mean over seeds.</p>"""


@dataclass(frozen=True, eq=False)
class Reproduction:
    """The thesis's tables and what goes past them.

    Args:
        rows: see `trainless.reproduction.reproduce_rows`; published scores first, then our own.
        studies: FreeREA's scores on each data set, our own of all cells, and our own of the sample with all proxies.
        leaderboards: that of each study.
        weights: see `study_weights`.
        record: see `compare_with_record`.
        mixes: mixes by name with their Kendall's tau on every benchmark.
    """

    rows: list[dict[str, Any]]
    studies: list[Study]
    leaderboards: list[pd.DataFrame]
    weights: pd.DataFrame
    record: pd.DataFrame
    mixes: pd.DataFrame

    def write(self, folder: Path) -> list[Path]:
        """Write the report, its figures for papers, and each table as CSV, Markdown and LaTeX.

        Args:
            folder: made where it is not there.

        Raises:
            InputError: the folder cannot be written to.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return self._write(folder)
        except OSError as error:
            raise InputError(f"{folder} cannot be written to: {error.strerror or error}.") from error

    def _write(self, folder: Path) -> list[Path]:
        tables = self._tables()
        page = folder / "report.html"
        page.write_text(
            several_studies_page(
                self.studies,
                "The Hybrid proxy, reproduced",
                introduction_html=self._introduction(),
                tables=[(caption, _titled(table), note) for _, caption, table, note in tables],
                leaderboards=self.leaderboards,
            ),
            encoding="utf-8",
        )
        rows = folder / "rows.json"
        rows.write_text(json.dumps(self.rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        written = [page, rows]
        for name, caption, table, _ in tables:
            texts = {
                "csv": table.to_csv(index=False),
                "md": markdown_table(_titled(table)),
                "tex": latex_table(_titled(table), caption, f"tab:{name}"),
            }
            for ending, text in texts.items():
                path = folder / f"{name}.{ending}"
                path.write_text(text, encoding="utf-8")
                written.append(path)
        for study, board in zip(self.studies, self.leaderboards, strict=True):
            written += study_figures(study, folder / "figures" / _slug(study.title), leaderboard=board)
        return written

    def _introduction(self) -> str:
        shown = [row for row in self.rows if row["proxy"] == "hybrid" and row["source"] == "published"]
        taus = [f"{row['dataset']} {row['kendall']:.3f} ({row['thesis_kendall']:.2f} in the thesis)" for row in shown]
        return environment().from_string(_INTRODUCTION).render(taus=taus)

    def _tables(self) -> list[tuple[str, str, pd.DataFrame, str]]:
        """Name, caption, table and note of everything that is printed as a table."""
        frame = pd.DataFrame(self.rows)
        columns = ["proxy", "dataset", "source", "kendall", "thesis_kendall", "spearman", "thesis_spearman",
                   "top_accuracy", "thesis_top_accuracy", "networks", "split", "difference"]  # fmt: skip
        listed = []
        for number in sorted(frame["table"].unique()):
            part = frame[frame["table"] == number]
            datasets = ", ".join(dict.fromkeys(part["dataset"]))
            shown = part[columns].dropna(axis=1, how="all")
            shown = shown.drop(columns=[] if number == "6.1" else "dataset")
            reasons = dict.fromkeys(reason for reasons in part["reasons"] for reason in reasons)
            note = f"What differs in the making: {'; '.join(reasons)}." if reasons else ""
            listed.append((f"table-{number}", f"Table {number} of the thesis: {datasets}", shown, note))
        listed.append((
            "weights", "Weights of the Hybrid: figure 6.1, and what of it holds elsewhere", self.weights,
            "In-sample figures are fitted and measured on the same cells, and so too good; held-out ones are means "
            "over five folds. 'on ...' are the correlations on another data set of the weights fitted on this one.",
        ))  # fmt: skip
        listed.append((
            "record", "Our proxies beside the thesis, NAS-Bench-Suite-Zero and the label-free record", self.record,
            "Against the test accuracy, mean over seeds; the record is VKDNW_agg (CVPR 2025).",
        ))  # fmt: skip
        listed.append((
            "mixes", f"Mixes of proxies, chosen on {_CHOSEN_ON} and measured elsewhere (Kendall's τ)", self.mixes,
            "No accuracy of the other benchmarks had a part in the choice of the best, and none in a mix itself. The "
            "most robust have the best worst case over all columns, of which they may lack one; they may hold params "
            "and flops, and are chosen on what they are measured on.",
        ))  # fmt: skip
        return listed


def reproduce_thesis(
    folder: str | Path | None = None,
    scores: str | Path | None = None,
    *,
    resamples: int = 200,
    with_extras: bool = True,
    progress: Callable[[str], Progress] | None = None,
) -> Reproduction:
    """Compute tables 6.1 to 6.7 and figure 6.1 of the thesis, from published scores and our own, and what follows.

    Args:
        folder: where the public files are; None is the cache or TRAINLESS_DATA.
        scores: a store of scores to take for our own; None takes those that come with the package.
        resamples: bootstrap samples behind each interval.
        with_extras: False computes the rows alone.
        progress: given the name of a stage, gives what to call with the steps done and the number of all.

    Raises:
        TableError: a public file is missing or damaged; the message says how to get it.
        InputError: the store cannot be used.
    """
    stage = progress or (lambda name: lambda done, total: None)
    table = benchmark_table("nasbench201", folder)
    own = own_scores() if scores is None else own_scores_from_store(scores)
    published, ours = published_sets(folder), own_sets(own, folder, packaged=scores is None)
    rows = reproduce_rows(published, table, resamples=resamples, progress=stage("published scores"))
    rows += reproduce_rows(ours, table, resamples=resamples, progress=stage("our own scores"))
    if not with_extras:
        return Reproduction(rows, [], [], pd.DataFrame(), pd.DataFrame(), pd.DataFrame())
    studies = _studies(published, own, own_seconds() if scores is None else None, table, stage("weights"))
    return Reproduction(
        rows,
        studies,
        [study.leaderboard(resamples, progress=stage(f"intervals of {study.title}")) for study in studies],
        study_weights(studies, stage("cross-validation")),
        compare_with_record(own, table),
        _mixes(own, folder, stage("mixes")),
    )


def _studies(
    published: dict[str, list[ScoreSet]],
    own: OwnScores,
    seconds: pd.DataFrame | None,
    table: BenchmarkTable,
    progress: Progress,
) -> list[Study]:
    wanted = [("FreeREA", name, sets[0].scores, sets[0].origin, sets[0].seconds) for name, sets in published.items()]
    ours = "trainless, batch 64, seed 0"
    for name, scores in own.items():
        cost = None if seconds is None else seconds[name]
        whole, sample = everywhere(scores), everywhere(scores, sampled=True)
        wanted.append(("own", name, whole, ours, cost))
        if len(sample.columns) > len(whole.columns):
            note = f"{ours}; a seeded sample of {len(sample):,} distinct networks, one cell of each"
            wanted.append(("own sample", name, sample, note, cost))
    studies = []
    for done, (source, dataset, scores, origin, cost) in enumerate(wanted):
        progress(done, len(wanted))
        studies.append(
            make_study(
                scores,
                table.accuracies(dataset, "test"),
                title=f"{dataset}, {source}",
                parameters=scores.get("params"),
                seconds=cost,
                protocol={"scores": origin, "accuracies": f"NAS-Bench-201, {dataset}, test, mean over seeds"},
                with_sweep=source != "own sample",
            )
        )
    progress(len(wanted), len(wanted))
    return studies


def study_weights(studies: list[Study], progress: Progress | None = None) -> pd.DataFrame:
    """Tell of each study the best weights, what they are worth on held-out cells, and on the other data sets.

    Args:
        studies: with their sweeps; those without one are left out.
        progress: called with the studies done and the number of all.

    Returns:
        One row a study: ``kendall at 0.5, 1.5``, the best ``alpha``, ``beta``, their ``ratio``, ``kendall in-sample``,
        ``kendall held out``, and ``on <study>`` for the others.
    """
    swept = [(study, study.sweep) for study in studies if study.sweep is not None]
    rows = []
    for done, (study, sweep) in enumerate(swept):
        if progress:
            progress(done, len(swept))
        alpha, beta, value = sweep.best()
        held = cross_validate(study.scores[list(HYBRID_PAIR)], study.accuracies)
        row: dict[str, Any] = {
            "scores": study.title,
            "kendall at 0.5, 1.5": round(sweep.at(*BEST_WEIGHTS), _ROUNDED),
            "alpha": alpha,
            "beta": beta,
            "ratio": round(beta / alpha, 2) if alpha else float("inf"),
            "kendall in-sample": round(value, _ROUNDED),
            "kendall held out": round(held.kendall, _ROUNDED),
        }
        rows.append(row | {f"on {other.title}": _elsewhere(weights, alpha, beta) for other, weights in swept})
    if progress:
        progress(len(swept), len(swept))
    return pd.DataFrame(rows)


def _elsewhere(sweep: Sweep, alpha: float, beta: float) -> float:
    return round(sweep.at(alpha, beta), _ROUNDED)


def compare_with_record(own: OwnScores, table: BenchmarkTable) -> pd.DataFrame:
    """Set our proxies and mixes beside the thesis, NAS-Bench-Suite-Zero and the label-free record.

    Returns:
        One row a data set and proxy or mix, the best first: ``kendall``, ``spearman``, ``thesis_kendall``,
        ``thesis_spearman``, ``suite_zero_spearman`` and ``networks``; the record has a row of its own.
    """
    rows: list[dict[str, Any]] = []
    for dataset, scores in own.items():
        truth = table.accuracies(dataset, "test")
        whole = make_study(everywhere(scores), truth, title=dataset)
        for name in [*whole.scores.columns, *scores.columns.difference(whole.scores.columns)]:
            values = whole.scores[name] if name in whole.scores else scores[name]
            rows.append({"dataset": dataset, "proxy": name} | _measured(values, truth))  # plain as the thesis has it
        sample = everywhere(scores, sampled=True)
        mixes = make_study(sample, truth, title=dataset, mixes={mix.name: mix for mix in candidates(sizes=[2])})
        board = mixes.leaderboard(resamples=0)
        for best in board.index[board["kind"] == "mix"][:1]:
            rows.append({"dataset": dataset, "proxy": f"{best}, the best pair in-sample"}
                        | _measured(mixes.oriented[best], truth))  # fmt: skip
        kendall, spearman = RECORD[dataset]
        rows.append({"dataset": dataset, "proxy": "VKDNW_agg, the record", "kendall": kendall, "spearman": spearman})
    frame = pd.DataFrame(rows)
    thesis = {(figure.dataset, figure.proxy): figure for figure in THESIS}
    thesis_names = {columns[0]: name for name, columns in COLUMNS.items()}
    keys = [(row["dataset"], thesis_names.get(row["proxy"], row["proxy"])) for row in rows]
    frame["thesis_kendall"] = [thesis[key].kendall if key in thesis else None for key in keys]
    frame["thesis_spearman"] = [thesis[key].spearman if key in thesis else None for key in keys]
    frame["suite_zero_spearman"] = [SUITE_ZERO_SPEARMAN[key[0]].get(key[1]) for key in keys]
    order = frame["dataset"].map({name: rank for rank, name in enumerate(DATASETS)})
    ordered = frame.assign(order=order).sort_values(["order", "kendall"], ascending=[True, False])
    return ordered.drop(columns="order").reset_index(drop=True)


def _measured(values: pd.Series, accuracies: pd.Series) -> dict[str, Any]:
    from trainless.metrics import kendall, spearman

    scored = values.dropna()  # what was scored for a sample only is NaN elsewhere
    truth = accuracies.loc[scored.index]
    return {
        "kendall": round(kendall(scored.to_numpy(), truth.to_numpy()), _ROUNDED),
        "spearman": round(spearman(scored.to_numpy(), truth.to_numpy()), _ROUNDED),
        "networks": len(scored),
    }


def _mixes(own: OwnScores, folder: str | Path | None, progress: Progress) -> pd.DataFrame:
    own_proxies = [mix.name for mix in candidates(sizes=(1, 2, 3))]
    mixes = [*candidates((*THESIS_PROXIES, *COUNTS), sizes=(1, 2, 3)), *thesis_mixes()]
    unique = list({mix.name: mix for mix in mixes}.values())
    table = compare_mixes([*mix_sources(folder), *own_mix_sources(own, folder)], unique, progress=progress)
    fixed = table.loc[[mix.name for mix in thesis_mixes()]].assign(why="fixed before")
    shown = pd.concat([notable_mixes(table, _CHOSEN_ON, sizes_of(unique), own_proxies), fixed])
    shown = shown[~shown.index.duplicated()]
    rounded: pd.DataFrame = worst_and_mean(shown).round(3)
    return rounded.reset_index()


def _titled(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose rows are named by its first column, as a page and a paper show them."""
    return table.set_index(str(table.columns[0]))


def _slug(title: str) -> str:
    return "-".join("".join(letter if letter.isalnum() else " " for letter in title).split()).lower()
