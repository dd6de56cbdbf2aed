"""The command that runs the suite: every proxy on every benchmark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainless.cli.shared import (
    Address,
    Backend,
    Json,
    MemoryLimit,
    Proxies,
    ScorePrecision,
    Timeout,
    Workers,
    asked_workers,
    find_data,
    interruptible,
    new_folder,
)
from trainless.terminal import print_json, print_rows, progress, records, tell, write_file, write_text

if TYPE_CHECKING:
    from trainless.suite import SuiteResult

__all__ = ["suite"]

_SHOWN = 30  # proxies on the terminal


def suite(
    data: Annotated[str, typer.Option(help="Folder with the images of the data sets, or images for all of them.")],
    spaces: Annotated[str, typer.Option(help="Search spaces with commas, or 'all' that have a table here.")] = "all",
    datasets: Annotated[
        str | None, typer.Option(help="Data sets of the benchmarks with commas; all if left out.")
    ] = None,
    proxies: Proxies = "all",
    table: Annotated[
        list[str] | None, typer.Option(help="A further table: a name, or a file in the plain format; FILE@SPACE.")
    ] = None,
    proxy: Annotated[
        list[str] | None, typer.Option(help="A proxy of one's own: my_proxy.py:MY_PROXY. The file is run.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the scores, the tables and the page.")] = Path("suite"),
    sample: Annotated[int, typer.Option(help="Distinct networks of each benchmark.")] = 1000,
    everything: Annotated[bool, typer.Option("--all", help="Score every architecture of each table.")] = False,
    seeds: Annotated[int, typer.Option(help="How many seeds everything is scored with.")] = 3,
    batch_size: Annotated[int, typer.Option(help="Images in the batch.")] = 64,
    initialization: Annotated[str, typer.Option(help="How weights are drawn.")] = "kaiming_normal_fan_out",
    precision: ScorePrecision = "float32",
    resamples: Annotated[int, typer.Option(help="Bootstrap samples behind each interval; 0 for none.")] = 200,
    workers: Workers = None,
    backend: Backend = "local",
    address: Address = None,
    timeout: Timeout = None,
    memory_limit: MemoryLimit = None,
    as_json: Json = False,
) -> None:
    """Run every proxy and aggregation on every benchmark that is here; run it again to go on after an interruption."""
    from trainless.report import suite_page
    from trainless.specs import split_names
    from trainless.suite import Suite, find_benchmarks, proxy_from_file, run_suite

    own = [proxy_from_file(file) for file in proxy or []]
    named = [part.strip() for part in proxies.split(",") if part.strip()]
    plan = Suite(
        [*named, *own], find_data(data), None if everything else sample, seeds, batch_size, initialization, resamples,
        asked_workers(backend, address, workers, timeout, memory_limit),
        None if datasets is None else split_names(datasets), precision,
    )  # fmt: skip
    benchmarks = find_benchmarks(spaces, table or [])
    advice = f"Finished scores are in {out}: run the same command again to go on."
    with new_folder(out), interruptible(advice), progress("scoring") as update:
        stage = [""]

        def told(what: str, done: int, total: int) -> None:
            if what != stage[0]:
                update.stage(what)
                stage[0] = what
            update(done, total)

        result = run_suite(plan, benchmarks, out / "scores.db", told)
    files = _write(result, out)
    write_text(out / "suite.html", suite_page(result))
    if as_json:
        print_json(records(result.rows.set_index("benchmark")))
        return
    shown = result.heat.head(_SHOWN)
    print_rows(records(shown.round(3)))
    if len(result.heat) > _SHOWN:
        tell(f"... and {len(result.heat) - _SHOWN} more in {out / 'results.csv'}")
    tell("; ".join(f"{key}: {value}" for key, value in result.protocol.items()))
    tell(f"Page: {out / 'suite.html'}  Tables: {', '.join(files)}")


def _write(result: SuiteResult, out: Path) -> list[str]:
    from trainless.report import latex_table, markdown_table

    heat = result.heat.round(3)
    write_file(out / "results.csv", lambda path: result.rows.to_csv(path, index=False))
    write_file(out / "results.parquet", lambda path: result.rows.to_parquet(path, index=False))
    write_text(out / "protocol.json", json.dumps(result.protocol, indent=1, ensure_ascii=False) + "\n")
    write_text(out / "results.md", markdown_table(heat, index="proxy"))
    write_text(
        out / "results.tex", latex_table(heat, "Rank correlation of scores with accuracies", "tab:suite", index="proxy")
    )
    return [str(out / f"results.{ending}") for ending in ("csv", "parquet", "md", "tex")]
