"""A fit with all its artifacts in one folder: network, model card, report and figure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trainless.files import write_file, write_text

if TYPE_CHECKING:
    from trainless.automl import Fitted, Plan
    from trainless.automl.course import Progress
    from trainless.data import Splits
    from trainless.data.audits import Audit
    from trainless.training import TrainingState

__all__ = ["fit_to_folder"]


def fit_to_folder(
    splits: Splits, plan: Plan, folder: Path, *, audited: Audit | None = None, command: str = "",
    go_on: bool = False, begun: float | None = None, progress: Progress | None = None,
    on_epoch: Callable[[TrainingState], None] | None = None,
) -> Fitted:  # fmt: skip
    """Fit a network, and write it with its model card, report and figure to a folder.

    Args:
        splits: the images.
        plan: settings of the fit.
        folder: where to, made if it is not there; a fit that was interrupted there goes on.
        audited: what `trainless.data.audit` found in the images, where it was called already.
        command: what makes it again, for the card.
        go_on: go on with the fit in the folder, finished or not, for the time or the epochs of this plan.
        begun: value of `time.monotonic` from which the time of the plan counts; None counts from this call.
        progress: called with the name of a stage, what is done of it and all of it.
        on_epoch: called with where the training stands after each of its epochs.

    Returns:
        The network with the paths of what was written.

    Raises:
        DataError: the images cannot be used.
        InputError: nothing within the limits was found, something of the plan cannot be used, or the folder cannot be
            written: then the same call goes on where it was.
    """
    from trainless.automl import fit
    from trainless.automl.folders import write_run
    from trainless.report import fit_figure, fit_page

    def write(fitted: Fitted, overrun: Callable[[], list[str]]) -> Fitted:
        if progress:
            progress("writing", 0, 1)
        names = {"report": "report.html", "figure": "report.png"}
        fitted = replace(fitted, files={**fitted.files, **{kind: folder / name for kind, name in names.items()}})

        def pages(written: Fitted, staged: Path) -> None:
            write_text(staged / names["report"], fit_page(written))
            write_file(staged / names["figure"], lambda path: fit_figure(written, path))

        return write_run(fitted, folder, splits.test, command=command, overrun=overrun, pages=pages)

    return fit(
        splits,
        plan,
        audited=audited,
        folder=folder,
        go_on=go_on,
        begun=begun,
        progress=progress,
        on_epoch=on_epoch,
        write=write,
    )
