"""The commands from images to a network and back: fit, predict, export, trust."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainless.cli.devices import Accelerator, DeviceCount, Precision, devices_of
from trainless.cli.limits import NO_LIMITS, Most, limit_options
from trainless.cli.shared import (
    Address,
    Backend,
    Json,
    MemoryLimit,
    Proxies,
    ScorePrecision,
    Seed,
    Space,
    Timeout,
    Workers,
    asked_workers,
    check_places,
    find_data,
    interruptible,
    new_folder,
    new_store,
    without_password,
)
from trainless.costs import COSTS
from trainless.errors import InputError
from trainless.files import printable
from trainless.terminal import print_json, print_rows, progress, records, tell, write_file

if TYPE_CHECKING:
    from trainless.automl import Fitted, Plan
    from trainless.automl.finalists import Finalist
    from trainless.data import Splits
    from trainless.data.preprocessing import Preprocessing

__all__ = ["export", "fit", "fit_shown", "predict", "trust"]

RunFolder = Annotated[
    Path, typer.Argument(help="The folder that `trainless fit` wrote; its code is run: take one you trust.")
]
_AT_ONCE = 256  # images that are read before the network sees them


@limit_options
def fit(
    data: Annotated[
        str | None,
        typer.Argument(
            help="'digits', class folders (also within train, valid, test), CSV, .npz; of --grow and --shrink those of "
            "the run, where none are given."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the network, its card and all else; made if needed.")] = Path(
        "run"
    ),
    time: Annotated[str | None, typer.Option(help="Time for all of it, such as 90s, 20m or 1h; default 10m.")] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of the training, in place of a time: the same on every run.")
    ] = None,
    evaluations: Annotated[
        int | None, typer.Option(help="Most architectures that are scored; default 200, in convnet the hand-made ones.")
    ] = None,
    most: Most = NO_LIMITS,
    from_run: Annotated[
        Path | None, typer.Option("--from", help="Start from the weights of an earlier run, on other images.")
    ] = None,
    grow: Annotated[
        Path | None, typer.Option(help="Go on from an earlier run with a larger network, on the same images.")
    ] = None,
    shrink: Annotated[
        Path | None, typer.Option(help="Make the network of an earlier run smaller, by tighter limits.")
    ] = None,
    space: Annotated[
        str,
        typer.Option(
            help="Search space, `trainless spaces` lists them; auto: pretrained features or networks from scratch, "
            "what validates better."
        ),
    ] = "auto",
    backbone: Annotated[
        str,
        typer.Option(
            help="Pretrained features to start from: lite0, lite1, lite2, all, or a file with weights of "
            "EfficientNet-Lite, MobileNetV2, MobileNetV3 or ResNet."
        ),
    ] = "all",
    strategy: Annotated[str, typer.Option(help="How architectures are proposed.")] = "evolution",
    score: Annotated[
        str | None, typer.Option(help="A proxy, an aggregation or an estimator; default what suits the space.")
    ] = None,
    measure: Annotated[
        str | None,
        typer.Option(
            help="What it shall be good at: accuracy, balanced-accuracy, macro-f1, log-loss; default accuracy, or "
            "balanced-accuracy where classes are very unequal."
        ),
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Rows and columns of the images; default by data, time and limits.")
    ] = None,
    resize: Annotated[
        str | None, typer.Option(help="To a square by: stretch, pad, crop; default pad where many images are wide.")
    ] = None,
    mirror: Annotated[
        bool | None, typer.Option(help="Whether a mirrored image is as good; default yes for colour images.")
    ] = None,
    mirror_average: Annotated[
        bool,
        typer.Option(
            "--mirror-average", help="Average over an image and its mirror image, for twice the multiply-adds."
        ),
    ] = False,
    valid_share: Annotated[
        float | None,
        typer.Option(
            help="Share of the images that networks and recipes are chosen by, where no part is given; default 0.2."
        ),
    ] = None,
    test_share: Annotated[
        float | None,
        typer.Option(help="Share of the images that the result is tested on, where no part is given; default 0.2."),
    ] = None,
    drop_leaks: Annotated[
        bool, typer.Option("--drop-leaks", help="Leave out images of which another part has a copy.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the network that an earlier fit wrote to --out.")
    ] = False,
    go_on: Annotated[
        bool, typer.Option("--continue", help="Go on with the fit in --out, finished or not, for this time more.")
    ] = False,
    only_plan: Annotated[
        bool, typer.Option("--plan", help="Tell what there will be time for, and begin none of it.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="End with exit code 1 where the network is of little use.")
    ] = False,
    accelerator: Accelerator = "cpu",
    devices: DeviceCount = 1,
    precision: Precision = None,
    seed: Annotated[
        int | None, typer.Option(help="Decides all that is random; default 0, of --grow and --shrink that of the run.")
    ] = None,
    workers: Workers = None,
    backend: Backend = "local",
    address: Address = None,
    timeout: Timeout = None,
    memory_limit: MemoryLimit = None,
    as_json: Json = False,
) -> None:
    """Find, train, test and export a network for labelled images, within a time."""
    begun = monotonic()
    from trainless.automl import Plan
    from trainless.automl.earlier import earlier_run
    from trainless.automl.model_card import facts
    from trainless.data import drop_leaks as without_leaks
    from trainless.search import Limits

    is_finished = os.path.exists(out / "fit.json")  # not Path.exists, which raises where a name is too long
    if is_finished and not (overwrite or go_on or only_plan):
        raise InputError(
            f"The folder {out} holds the network of an earlier fit: give another --out, --continue to go on with it, "
            "or --overwrite."
        )
    if go_on and only_plan:
        raise InputError(
            "--plan tells what a new fit has time for, and --continue goes on with one that was begun: leave one out."
        )
    limits, start = Limits(most), earlier_run(from_run, grow, shrink, out, go_on=go_on)
    if start and start.use != "from":
        reading = {"--valid-share": valid_share, "--test-share": test_share, "--drop-leaks": drop_leaks or None}
        if given := [name for name, value in reading.items() if value is not None]:
            raise InputError(f"{given[0]} is given, but --{start.use} reads images as the run did: leave it out.")
        seed = start.facts["setting"]["seed"] if seed is None else seed
    precision = precision or ("auto" if epochs is None else "32-true")
    plan = Plan(
        _seconds(time, epochs), limits, space, strategy, score, measure, mirror, image_size, seed or 0,
        asked_workers(backend, address, workers, timeout, memory_limit), epochs, evaluations,
        devices_of(accelerator, devices, precision), resize, mirror_average, backbone, start,
    )  # fmt: skip
    valid, test = (0.2 if share is None else share for share in (valid_share, test_share))
    if not (valid > 0 < test and valid + test < 1):
        raise InputError(
            f"--valid-share is {valid:g} and --test-share {test:g}, expected two above 0 whose sum is below 1, as the "
            "rest is what the network is trained on: give smaller ones, such as 0.2."
        )
    with interruptible("Nothing was kept yet: run the same command again."), progress("reading"):
        splits = plan.load(data and find_data(data), (1 - valid - test, valid, test))
        splits = without_leaks(splits) if drop_leaks else splits
    if only_plan:
        _show_plan(splits, plan, begun, as_json)
        return
    written = fit_shown(splits, plan, out, begun=begun, go_on=go_on, quiet=as_json)
    if as_json:
        print_json(facts(written))
    if strict and written.warnings:
        raise typer.Exit(1)


def _seconds(time: str | None, epochs: int | None) -> float | None:
    from trainless.units import parse_time

    if time is not None and epochs is not None:
        raise InputError(f"The time is {time} and epochs {epochs}, expected one of both: leave one out.")
    return None if epochs is not None else parse_time(time or "10m")


def _show_plan(splits: Splits, plan: Plan, begun: float, as_json: bool) -> None:
    from trainless.automl.forecasts import forecast
    from trainless.data import audit

    audited = audit(splits)
    if not as_json:
        tell(str(audited))
    with interruptible("Nothing was begun."), progress("sizing"):
        found = forecast(splits, plan, audited=audited, begun=begun)
    if found.warning:
        tell(f"Warning: {found.warning}", err=as_json)
    if not as_json:
        tell("\nWhat there will be time for, by what was measured now:")
    print_rows([asdict(stage) for stage in found.stages], as_json)


def fit_shown(
    splits: Splits, plan: Plan, out: Path, *, begun: float | None = None, go_on: bool = False, quiet: bool = False
) -> Fitted:
    """Show what is in the data, fit with a progress bar, and tell what came out; only the bar where it is quiet.

    Args:
        splits: the images.
        plan: settings of the fit.
        out: folder for the network and all else.
        begun: value of `time.monotonic` from which the time of the plan counts; None counts from here.
        go_on: go on with the fit in the folder, finished or not.
        quiet: show nothing but the bar.
    """
    from trainless.data import audit
    from trainless.fit_artifacts import fit_to_folder

    begun = monotonic() if begun is None else begun
    deadline = None if plan.time is None else begun + plan.time
    audited = audit(splits)
    if not quiet:
        tell(str(audited))
    with (
        new_folder(out),
        interruptible(partial(_kept, out)),
        progress("preparing", begun=begun, deadline=deadline) as update,
    ):
        stages: list[str] = []

        def told(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages.append(stage)
                update.stage(stage)
            if total:
                update(done, total)

        command = shlex.join(["trainless", *sys.argv[1:]])
        written = fit_to_folder(
            splits, plan, out, audited=audited, command=command, go_on=go_on, begun=begun, progress=told
        )
    if not quiet:
        _tell(written, out)
    return written


def _kept(out: Path) -> str:
    """What an interrupted fit left, and how to go on."""
    kept = [str(out / name) for name in ("search.db", "unfinished.pt") if (out / name).exists()]
    if not kept:
        return "Nothing was kept yet: run the same command again."
    return f"What is done is kept in {' and '.join(kept)}: run the same command again, it goes on from there."


def _tell(written: Fitted, out: Path) -> None:
    test, comparison = written.test, written.comparison
    tell()
    for warning in written.warnings:
        tell(f"Warning: {warning}")
    tell(
        f"Test {comparison.scale.title} {comparison.scale.text(comparison.value)} on {test.images:,} images (95 % "
        f"interval {comparison.interval()}); {'; '.join(comparison.beside())}."
    )
    if written.measure != "accuracy":
        tell(f"Test accuracy {test.accuracy:.2%} (95 % interval {test.low:.2%} to {test.high:.2%}).")
    costs = [f"{COSTS[name].amount(value)} {COSTS[name].title}" for name, value in written.costs.items()]
    tell(f"{', '.join(costs)} for one image here.")
    for said in written.held():
        tell(f"Limit: {said}")
    if written.finalists:
        tell("Finalists, the first to be taken first; latency in ms, measured (median) with its upper quartile:")
        print_rows([_finalist(finalist) for finalist in written.finalists])
    tell(f"{written.architecture} of {written.space}")
    tell(f"Search: {written.protocol['scored']}.")
    for note in written.notes:
        tell(f"Note: {note}")
    print_rows([{"what": name, "file": str(path)} for name, path in written.files.items()])
    tell(f"Next: trainless predict {out} FOLDER; trainless export {out} --format onnx")


def _finalist(finalist: Finalist) -> dict[str, Any]:
    accuracy, predicted = finalist.valid_accuracy, finalist.predicted_latency_ms
    return {
        "": "chosen" if finalist.is_chosen else "", "score": finalist.score, "parameters": finalist.parameters,
        "multiply-adds": finalist.flops, **({} if predicted is None else {"predicted": predicted}),
        "measured": finalist.latency_ms, "quartile": finalist.latency_high_ms,
        "validation": "" if accuracy is None else f"{accuracy:.2%}",
        "architecture": finalist.architecture,
    }  # fmt: skip


def predict(
    run: RunFolder,
    images: Annotated[
        Path, typer.Argument(help="A folder of images, searched through and through, also class folders; or one image.")
    ],
    csv: Annotated[Path | None, typer.Option(help="Write one row an image to this CSV file.")] = None,
    as_json: Json = False,
) -> None:
    """Tell the class of new images; in class folders also how many are right."""
    import numpy as np
    import pandas as pd

    from trainless.automl.folders import RunFolder as Folder
    from trainless.automl.inference import class_probabilities

    check_places(csv)
    folder = Folder.read(run)
    paths, left_out = _image_files(images)
    if not paths:
        besides = f" (left out: {left_out})" if left_out else ""
        raise InputError(
            f"There are no images in '{images}'{besides}, expected files such as .png or .jpg: check the path."
        )
    if left_out:
        tell(f"trainless: left out: {left_out}", err=True)
    network, wanted, read, found, broken = (
        folder.network(),
        folder.preprocessing,
        list[Path](),
        list[Any](),
        list[str](),
    )
    with progress("predicting") as update:
        for start in range(0, len(paths), _AT_ONCE):
            pixels, unread = _read(paths[start : start + _AT_ONCE], wanted)
            read += [path for path, _ in pixels]
            broken += unread
            if pixels:
                found.append(class_probabilities(network, np.stack([image for _, image in pixels])))
            update(min(start + _AT_ONCE, len(paths)), len(paths))
    if not read:
        raise InputError(f"None of the {len(paths)} images in '{images}' can be read, such as {broken[0]}")
    shares, classes = np.concatenate(found), np.array(folder.classes)
    best, labels = shares.argmax(1), [_label(path, images, folder.classes) for path in read]
    rows = pd.DataFrame({
        "path": [printable(str(path)) for path in read], "class": classes[best],
        "share": shares[np.arange(len(best)), best],
    })  # fmt: skip
    if any(labels):
        rows.insert(1, "label", pd.Series(labels, dtype=object))
    shown: list[dict[str, Any]] = rows.to_dict(orient="records")  # type: ignore[assignment]
    for number, name in enumerate(folder.classes):
        rows[f"share of {name}"] = shares[:, number]
    for reason in broken:
        tell(f"trainless: left out: {reason}", err=True)
    if csv:
        write_file(csv, lambda path: rows.to_csv(path, index=False))
    right = [guess == label for guess, label in zip(classes[best], labels, strict=True) if label]
    if as_json:
        named = [dict(zip(folder.classes, row, strict=True)) for row in shares.tolist()]
        print_json([{**row, "probabilities": row_shares} for row, row_shares in zip(shown, named, strict=True)])
        return
    print_rows(shown[:20])
    if len(shown) > 20:
        tell(f"{len(shown) - 20:,} more: take --csv or --json for all.")
    if right:
        tell(_accuracy(right, len(read)))


def _label(path: Path, folder: Path, classes: Sequence[str]) -> str | None:
    """The class that the nearest folder around an image is named after, below the folder that was given."""
    known, parents = set(classes), path.relative_to(folder).parts[:-1] if os.path.isdir(folder) else ()
    return next((name for name in reversed(parents) if name in known), None)


def _accuracy(right: list[bool], images: int) -> str:
    from trainless.metrics import wilson_interval

    low, high = wilson_interval(sum(right), len(right))
    those = f"{len(right):,} images" if len(right) == images else f"the {len(right):,} of {images:,} images"
    return (
        f"Accuracy {sum(right) / len(right):.2%} on {those} in folders named after a class (95 % interval {low:.2%} to "
        f"{high:.2%})."
    )


def _image_files(path: Path) -> tuple[list[Path], str]:
    """The images in a folder, and what is left out of it; or the file."""
    from trainless.data.left_out import summary
    from trainless.data.walks import FolderWalk

    if os.path.isfile(path):
        return [path], ""
    if not os.path.isdir(path):
        raise InputError(f"There is no '{path}': give a folder of images, or one image.")
    inside = FolderWalk(path).below(path)
    return list(inside.images), summary(inside.left_out)


def _read(paths: list[Path], preprocessing: Preprocessing) -> tuple[list[tuple[Path, Any]], list[str]]:
    from trainless.data.image_files import read_pixels
    from trainless.errors import DataError

    read, broken = [], []
    for path in paths:
        try:
            read.append((path, read_pixels(path, preprocessing)))
        except DataError as error:
            broken.append(printable(str(error)))
    return read, broken


def export(
    run: RunFolder,
    format: Annotated[
        str,
        typer.Option(help="onnx, onnx-uint8 (RGB bytes of any size), torchscript, safetensors, or all; with commas."),
    ] = "onnx",
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to, made if needed; default that of the fit.")
    ] = None,
    softmax: Annotated[
        bool, typer.Option("--softmax", help="Give probabilities in place of logits, in all but safetensors.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the network in other formats, each compared with it, with what has to happen to an image before."""
    from trainless.automl.folders import RunFolder as Folder
    from trainless.errors import UnknownNameError
    from trainless.export import FORMATS

    names = [name.strip() for name in format.split(",") if name.strip()]
    for name in names or [""]:
        if name not in (*FORMATS, "all"):
            raise UnknownNameError("format", name, [*FORMATS, "all"])
    if softmax and set(names) == {"safetensors"}:
        raise InputError(
            "The format safetensors has no output of its own: leave --softmax out, or give another format."
        )
    with new_folder(out) if out else nullcontext():
        written = Folder.read(run).export(list(FORMATS) if "all" in names else names, folder=out, softmax=softmax)
    print_rows([{"format": name, "file": str(path)} for name, path in written.items()], as_json)


def trust(
    data: Annotated[str, typer.Option(help="'digits', class folders, a CSV file, CIFAR batches or an .npz file.")],
    space: Space = "nasbench201",
    train: Annotated[int, typer.Option(help="Architectures that are trained.")] = 30,
    proxies: Proxies = "params,flops,logsynflow,nwot,snip,grad_norm,zen",
    epochs: Annotated[int, typer.Option(help="Epochs of each training.")] = 12,
    images: Annotated[int, typer.Option(help="Most images to train and validate on.")] = 2500,
    augment: Annotated[bool, typer.Option(help="Mirror and shift training images; for photographs.")] = False,
    estimators: Annotated[
        str, typer.Option(help="Estimators beside the proxies, with commas; `trainless estimators` lists them.")
    ] = "",
    image_size: Annotated[int | None, typer.Option(help="Rows and columns of the images.")] = None,
    seed: Seed = 0,
    precision: ScorePrecision = "float32",
    workers: Workers = None,
    backend: Backend = "local",
    address: Address = None,
    timeout: Timeout = None,
    memory_limit: MemoryLimit = None,
    store: Annotated[str, typer.Option(help="Where scores and trainings are kept.")] = "trust.db",
    csv: Annotated[Path | None, typer.Option(help="Write scores and accuracies to this CSV file.")] = None,
    as_json: Json = False,
) -> None:
    """Tell how far proxies and estimators can be trusted on your images: train a small sample and correlate."""
    from trainless.automl import trust
    from trainless.data import load_data
    from trainless.estimators import estimator
    from trainless.search import split_names
    from trainless.search_spaces import search_space

    check_places(csv)
    others = [estimator(spec) for spec in split_names(estimators)]
    chosen = search_space(space)
    loaded = load_data(find_data(data), image_size=image_size)
    where = asked_workers(backend, address, workers, timeout, memory_limit)
    advice = f"What is finished is in {without_password(store)}: run the same command again to go on."
    with new_store(store), interruptible(advice), progress("training") as update:
        found = trust(
            loaded, chosen, train=train, proxies=proxies, epochs=epochs, images=images, augment=augment,
            estimators=others, seed=seed, precision=precision, workers=where, store=store, progress=update,
        )  # fmt: skip
    if csv:
        write_file(csv, found.scores.assign(valid_accuracy=found.accuracies).to_csv)
    rows = records(found.metrics.assign(seconds=found.seconds).rename_axis("proxy"))
    if as_json:
        print_json({"protocol": found.protocol, "proxies": rows, "failed": found.failed})
        return
    shown = (
        "proxy",
        "kendall",
        "kendall_low",
        "kendall_high",
        "spearman",
        "spearman_low",
        "spearman_high",
        "networks",
        "seconds",
    )
    print_rows([{name: row[name] for name in shown} for row in rows])
    tell("; ".join(f"{key}: {value}" for key, value in found.protocol.items()))
    tell(
        "Intervals are 95 % by bootstrap: where one holds 0, this sample does not show that the proxy ranks at all."
        f" Seconds are an architecture's; the training that they are held against took {found.seconds['training']:.3g}."
    )
