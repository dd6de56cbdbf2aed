"""Train networks of the convnet space for the same time, and hold scores and costs against what they come to.

    python benchmarks/convnet_trainings.py [draw measure train score report] [--networks 100] [--least 0.02M]
        [--most 0.3M] [--data cifar-10-batches-bin image-batches/cifar100_960.npz] [--budgets 20 40 80] [--seeds 0]
        [--least-epochs 0.5] [--images 1500] [--recipe fit] [--precision auto] [--out convnet-trainings] [--workers 2]

Each step goes on where it was left, and without any named all of them run, in this order:

- draw: the networks, with parameters between two limits; as many of each tenth of the range of multiply-adds, in
  logarithms, so that fast and slow ones are among them. More --networks add to those that are there.
- measure: seconds of the processor that a step of each network takes by one thread, the least of several.
- train: each network for each budget on each data set. A budget, in seconds of one thread, is turned into a number of
  steps by what was measured, so that what else the machine does meanwhile decides nothing. The seed decides which
  quarter of the images, of fewer than 2,000 which half, is held out, and which --images of the others are learned
  from; the accuracy on all that are held out after the last epoch counts. What would get fewer than --least-epochs is
  not trained. The recipe is that of `trainless fit` for so many images and epochs, or one such as
  'recipe(mirror=yes, shift=0.1)'.
- score: all zero-cost proxies and named aggregations of each network on each data set.
- report: Spearman's correlations of every score, every cost and the logarithm of the epochs with the accuracy, with
  95 % bootstrap intervals over networks, for each data set and budget.
- table: all there is as a table in the plain format, convnet_trainings.csv, which is what the package has.
- formula: the formula of `accuracy-in-time`, fitted to the package's table of CIFAR-10, and how it ranks networks: of
  CIFAR-10 by cross-validation over networks, of other data sets as it is; by which power of the time what is wrong
  falls; and what each zero-cost score would add. Its coefficients are written to accuracy_in_time.json, which is what
  the package has.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from common import append_row, data_folder, machine, print_table
from scipy.stats import spearmanr
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trainless.aggregation import NAMED_AGGREGATES
from trainless.costs import COSTS
from trainless.data import ImageDataset, load_data, split
from trainless.data.splitting import part_of
from trainless.estimators.formula import FEATURES, cross_validated, fit_formula, samples
from trainless.hardware import limited_threads
from trainless.metrics import evaluate
from trainless.scoring import Scorer
from trainless.search_spaces import search_space
from trainless.seeding import derive_seed, generator
from trainless.specs import look_up
from trainless.tables import BenchmarkTable, packaged_table, write_table
from trainless.training import Devices, Recipe, fit_recipe, train
from trainless.training.batches import Batches, batch_count
from trainless.training.precision import faster_precision
from trainless.types import Architecture, Task

SPACE = search_space("convnet")
STEPS = ("draw", "measure", "train", "score", "report", "table", "formula")
LIMITED_FOR = Task("cifar10", 10)
STRATA, DRAWS = 10, 400  # DRAWS for each network that is wanted of a stratum
FEW_IMAGES = 2000
SLOW = ("gradsign", "ntk_condition", "vkdnw", "vkdnw_entropy")  # which "all" leaves out
OWN = ("parameters", "multiply_adds", "step_seconds")  # columns of the table that are no scores
BOOTSTRAPS = 2000
VALIDATED = 200  # held-out images that decide, as in a fit, whether the weights of the last epoch are kept
MEASURED_STEPS, MEASURED_SECONDS = 20, 1.0


class Training(NamedTuple):
    """One training to be done."""

    data: str
    architecture: str
    budget: float
    seed: int
    step_seconds: float
    recipe: str
    precision: str
    images: int


def main() -> None:
    """Run the steps that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", metavar="step", help=f"of {', '.join(STEPS)}")
    parser.add_argument("--networks", type=int, default=100)
    parser.add_argument("--least", default="0.02M")
    parser.add_argument("--most", default="0.3M")
    parser.add_argument("--data", nargs="+", default=["cifar-10-batches-bin", "image-batches/cifar100_960.npz"])
    parser.add_argument("--budgets", nargs="+", type=float, default=[20, 40, 80])
    parser.add_argument("--least-epochs", type=float, default=0.5, help="what gets fewer is not trained")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--images", type=int, default=1500, help="most to learn from")
    parser.add_argument("--recipe", default="fit")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--out", type=Path, default=Path("convnet-trainings"))
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    steps = arguments.steps or STEPS
    if not set(steps) <= set(STEPS):
        parser.error(f"the steps are {', '.join(steps)}, expected some of {', '.join(STEPS)}")
    recipe_of(arguments.recipe, FEW_IMAGES, photographs=True)  # refused here, where it cannot be read
    arguments.out.mkdir(parents=True, exist_ok=True)
    print(machine())
    work = (draw, measure, train_all, score, report, write_plain, print_formula)
    for step, do in zip(STEPS, work, strict=True):
        if step in steps:
            do(arguments)


def recipe_of(text: str, images: int, photographs: bool, epochs: float = 16.0) -> Recipe:
    """The recipe of `trainless fit`, or one that is written out."""
    if text == "fit":
        return fit_recipe(images, photographs, epochs=epochs)
    return look_up("training", text, {"recipe": Recipe})()


def is_photographs(dataset: ImageDataset) -> bool:
    """Whether images may be mirrored, as `trainless fit` has it."""
    return dataset.task.channels == 3


# Files.


def table_of(path: Path) -> pd.DataFrame:
    """What is in a CSV file; nothing where it is not there yet."""
    return pd.read_csv(path) if path.exists() else pd.DataFrame()


def networks(arguments: argparse.Namespace) -> list[Architecture]:
    """The networks that were drawn."""
    table = table_of(arguments.out / "networks.csv")
    return [SPACE.parse(text) for text in table.get("architecture", [])][: arguments.networks]


def dataset_of(source: str) -> ImageDataset:
    """A data set by its place among the real data, or by its name."""
    path = data_folder() / source
    return load_data(path if path.exists() else source)


def parts_of(source: str, seed: int, images: int) -> tuple[ImageDataset, ImageDataset]:
    """The images to learn from, and those that are held out."""
    dataset = dataset_of(source)
    train_set, held_out = split(dataset, 0.25 if len(dataset) >= FEW_IMAGES else 0.5, seed)
    return train_set if len(train_set) <= images else split(train_set, images / len(train_set), seed)[1], held_out


# The steps.


def draw(arguments: argparse.Namespace) -> None:
    """Draw networks until there are enough, as many of each stratum of multiply-adds."""
    path, known = (
        arguments.out / "networks.csv",
        set(networks(argparse.Namespace(**vars(arguments) | {"networks": None}))),
    )
    least, most = (COSTS["params"].parse(text, "the limit") for text in (arguments.least, arguments.most))
    rng = np.random.default_rng(derive_seed(0, "convnet trainings"))
    wanted = math.ceil(arguments.networks / STRATA)
    found: dict[Architecture, int] = {}
    for _ in range(DRAWS * wanted):
        architecture = SPACE.sample_within(rng, lambda drawn: least <= SPACE.parameters(drawn, LIMITED_FOR) <= most)
        if architecture is None:
            raise SystemExit(f"No network has {arguments.least} to {arguments.most} parameters.")
        architecture = SPACE.canonical(architecture)
        found[architecture] = SPACE.flops(architecture, LIMITED_FOR)
    logs = np.log(list(found.values()))
    low, high = np.quantile(logs, (0.02, 0.98))
    stratum = np.clip((STRATA * (logs - low) / (high - low)).astype(int), 0, STRATA - 1)
    architectures = np.array(list(found), dtype=object)
    rounds = [architectures[stratum == number][:wanted] for number in range(STRATA)]
    chosen = [group[index] for index in range(wanted) for group in rounds if index < len(group)]
    for architecture in chosen[: arguments.networks]:
        if architecture not in known:
            append_row(path, {
                "architecture": str(architecture), "parameters": SPACE.parameters(architecture, LIMITED_FOR),
                "multiply_adds": found[architecture],
            })  # fmt: skip
    print(f"{len(networks(arguments))} networks, {math.exp(low):,.0f} to {math.exp(high):,.0f} multiply-adds")


def measure(arguments: argparse.Namespace) -> None:
    """Measure seconds a step."""
    path, devices = arguments.out / "seconds.csv", Devices(precision=arguments.precision).resolved()
    for source in arguments.data:
        dataset, done = parts_of(source, 0, arguments.images)[0], measured(arguments, source)
        recipe = recipe_of(arguments.recipe, len(dataset), is_photographs(dataset))
        images, labels = next(iter(Batches(dataset, recipe.batch_size).shuffled(0, recipe)))
        for architecture in networks(arguments):
            if str(architecture) in done:
                continue
            with limited_threads(1):
                network = SPACE.build(architecture, dataset.task).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
                precision = devices.precision
                if precision == "auto":
                    precision = faster_precision(network, images, labels, recipe)
                seconds = step_seconds(network, images, labels, recipe, precision)
            append_row(path, {
                "data": source, "architecture": str(architecture), "recipe": arguments.recipe,
                "images": arguments.images, "asked_precision": arguments.precision, "precision": precision,
                "step_seconds": seconds,
            })  # fmt: skip
        print(f"{source}: a step takes {measured_range(arguments, source)} ms")


def step_seconds(
    network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, recipe: Recipe, precision: str
) -> float:
    """The shortest of several steps, in time of the processor: what others compute meanwhile is not in it."""
    optimizer, times = recipe.make_optimizer(network), list[float]()
    while len(times) < 3 or (len(times) < MEASURED_STEPS and sum(times) < MEASURED_SECONDS):
        start = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
            loss = torch.nn.functional.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.process_time() - start)
    return min(times[1:])


def measured(arguments: argparse.Namespace, source: str) -> dict[str, tuple[float, str]]:
    """Seconds a step and precision of the networks that were measured on a data set by the recipe."""
    table = table_of(arguments.out / "seconds.csv")
    if table.empty:
        return {}
    asked = {"data": source, "recipe": arguments.recipe, "images": arguments.images,
             "asked_precision": arguments.precision}  # fmt: skip
    table = table[(table[list(asked)] == pd.Series(asked)).all(axis=1)]
    return {row.architecture: (row.step_seconds, row.precision) for row in table.itertuples()}


def measured_range(arguments: argparse.Namespace, source: str) -> str:
    """The shortest and the longest of all steps, in milliseconds."""
    times = [1000 * seconds for seconds, _ in measured(arguments, source).values()]
    return f"{min(times):.1f} to {max(times):.1f}"


def train_all(arguments: argparse.Namespace) -> None:
    """Train what is not trained yet, shorter budgets first."""
    path, units, least = arguments.out / "trainings.csv", list[Training](), arguments.least_epochs
    table = table_of(path)
    done = set() if table.empty else set(zip(
        table["data"], table["architecture"], table["budget"], table["seed"], table["recipe"], table["precision"],
        table["images"], strict=True,
    ))  # fmt: skip
    for budget in sorted(arguments.budgets):
        for seed in arguments.seeds:
            for source in arguments.data:
                train_set, _ = parts_of(source, seed, arguments.images)
                for architecture, (seconds, precision) in measured(arguments, source).items():
                    named = (arguments.recipe, precision, arguments.images)
                    unit = Training(source, architecture, budget, seed, seconds, *named)
                    is_done = (source, architecture, budget, seed, *named) in done
                    if not is_done and epochs_of(unit, train_set) >= least:
                        units.append(unit)
    print(f"{len(units)} trainings of {sum(unit.budget for unit in units) / 3600:.1f} h of one thread in all")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.workers, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting = [pool.submit(trained, unit) for unit in units]
        try:
            for number, future in enumerate(as_completed(waiting), 1):
                row = future.result()
                append_row(path, row)
                print(f"{number} of {len(units)}: {row['accuracy']:.2f} % on {row['data']} after {row['epochs']:.1f} "
                      f"epochs, {row['budget']:g} s: {row['architecture']}", flush=True)  # fmt: skip
        finally:
            pool.shutdown(cancel_futures=True)


def epochs_of(unit: Training, train_set: ImageDataset) -> float:
    """How many epochs there are in the time."""
    batch = recipe_of(unit.recipe, len(train_set), is_photographs(train_set)).batch_size
    return unit.budget / (unit.step_seconds * batch_count(len(train_set), batch))


def trained(unit: Training) -> dict[str, object]:
    """Train a network for as many steps as there is time for."""
    train_set, held_out = parts_of(unit.data, unit.seed, unit.images)
    task, architecture = train_set.task, SPACE.parse(unit.architecture)
    epochs = epochs_of(unit, train_set)
    whole, recipe = max(1, int(epochs)), recipe_of(unit.recipe, len(train_set), is_photographs(train_set), epochs)
    network, few = SPACE.build(architecture, task), part_of(held_out, np.arange(len(held_out)) < VALIDATED)
    train(
        network, stretched(train_set, epochs / whole, unit.seed), few, epochs=whole, seed=unit.seed, recipe=recipe,
        devices=Devices(precision=unit.precision), prefer_last=True,
    )  # fmt: skip
    with torch.inference_mode():
        right = sum(int((network(images).argmax(1) == labels).sum()) for images, labels in Batches(held_out, 256))
    return {
        **unit._asdict(), "parameters": SPACE.parameters(architecture, task),
        "multiply_adds": SPACE.flops(architecture, task), "epochs": epochs, "accuracy": 100 * right / len(held_out),
        "train_images": len(train_set), "held_out_images": len(held_out),
    }  # fmt: skip


def stretched(dataset: ImageDataset, factor: float, seed: int) -> ImageDataset:
    """As many times the images, some of which are there once more than others: parts of an epoch are steps too."""
    count = max(2, round(factor * len(dataset)))
    order = torch.randperm(len(dataset), generator=generator(seed, "stretched")).numpy()
    chosen = np.resize(order, count)
    return replace(dataset, images=dataset.images[chosen], labels=dataset.labels[chosen])


def score(arguments: argparse.Namespace) -> None:
    """Score the networks by all zero-cost proxies."""
    for source in arguments.data:
        dataset, _ = parts_of(source, 0, arguments.images)
        names, store = ["all", *SLOW, *NAMED_AGGREGATES], arguments.out / "scores.db"
        scorer = Scorer(SPACE, names, dataset, workers=arguments.workers, store=store)
        scores = scorer.score(networks(arguments))
        scores.rename_axis("architecture").to_csv(scores_file(arguments, source))
        print(f"{source}: {scores.size} scores, of which {len(scorer.failures)} failed")


def scores_file(arguments: argparse.Namespace, source: str) -> Path:
    """Where the scores on a data set are."""
    return Path(arguments.out) / f"scores-{Path(source).stem}.csv"


def joined(arguments: argparse.Namespace) -> pd.DataFrame:
    """All trainings with the scores of their networks."""
    trainings, parts = table_of(arguments.out / "trainings.csv"), []
    for source, part in trainings.groupby("data", sort=False):
        scores = table_of(scores_file(arguments, str(source)))
        parts.append(part if scores.empty else part.merge(scores, on="architecture", how="left"))
    return pd.concat(parts)


def report(arguments: argparse.Namespace) -> None:
    """Print how scores and costs rank the networks."""
    table = joined(arguments)
    own = set(table_of(arguments.out / "trainings.csv").columns)
    names = [name for name in table.columns if name not in (*own, "params", "flops")]
    for (source, budget), part in table.groupby(["data", "budget"], sort=False):
        print_correlations(f"{source}, {budget:g} s", part, names)


def write_plain(arguments: argparse.Namespace) -> None:
    """Write the table in the plain format."""
    table, columns = joined(arguments), {}
    own = set(table_of(arguments.out / "trainings.csv").columns)
    for source, of_source in table.groupby("data", sort=False):
        name = dataset_of(str(source)).task.name
        for budget, part in of_source.groupby("budget"):
            means = part.groupby("architecture").mean(numeric_only=True)
            columns[f"{name}.valid_{budget:g}s"] = means["accuracy"].round(2)
            columns[f"{name}.epochs_{budget:g}s"] = means["epochs"]
        means = of_source.groupby("architecture").mean(numeric_only=True)
        columns |= {f"{name}.{column}": means[column] for column in OWN}
        scores = [column for column in means.columns if column not in (*own, "params", "flops")]
        columns |= {f"{name}.{column}": means[column] for column in scores}
    frame = pd.DataFrame(columns).reindex(map(str, networks(arguments)))
    frame = frame.map(lambda value: value if float(value).is_integer() else float(f"{value:.6g}"))
    frame.index.name = "architecture"
    write_table(BenchmarkTable("convnet-trainings", "convnet", frame), arguments.out / "convnet_trainings.csv")
    print(f"{len(frame)} networks, {len(frame.columns)} columns, {int(frame.isna().sum().sum())} values missing")


def print_formula(arguments: argparse.Namespace) -> None:
    """Print the formula of the package's table, and how it ranks networks that it was not fitted to."""
    table = packaged_table("convnet-trainings")
    formula = fit_formula(table, "cifar10")
    coefficients = json.dumps(formula.document(), indent=1) + "\n"
    (arguments.out / "accuracy_in_time.json").write_text(coefficients, encoding="utf-8")
    amounts = zip(FEATURES, formula.mean, formula.least, formula.most, formula.slopes, strict=True)
    print_table(
        ("feature", "mean", "least", "most", "points for one more"),
        [(name, *(f"{amount:.2f}" for amount in row)) for name, *row in amounts],
    )
    predictions = {"cifar10": cross_validated(table, "cifar10")}
    for dataset in table.datasets:
        _, rows, accuracies = samples(table, dataset)
        found, start = predictions.get(dataset, formula.predict(rows)), 0
        for split_name in table.splits(dataset):
            end = start + int(table.frame[f"{dataset}.{split_name}"].notna().sum())
            told, true = found[start:end], accuracies[start:end]
            error = np.sqrt(((told - true) ** 2).mean())
            print(f"{dataset} {split_name}: {end - start} networks, Spearman {spearmanr(told, true).statistic:.2f}, "
                  f"of epochs alone {spearmanr(rows[start:end, 0], true).statistic:.2f}, error {error:.1f} points"
                  + (" (cross-validated)" if dataset in predictions else ""))  # fmt: skip
            start = end
    print_longer(table)
    print_models(table)
    print_scores(table)


def print_models(table: BenchmarkTable) -> None:
    """Print the errors of other models of the same features on CIFAR-10, cross-validated over networks."""
    names, rows, accuracies = samples(table, "cifar10")
    models = {
        "extremely randomised trees": ExtraTreesRegressor(300, min_samples_leaf=2, random_state=0),
        "boosted trees": GradientBoostingRegressor(n_estimators=200, learning_rate=0.05, subsample=0.7, random_state=0),
        "Gaussian process": make_pipeline(
            StandardScaler(),
            GaussianProcessRegressor(RBF(np.full(rows.shape[1], 3.0)) + WhiteKernel(0.1), normalize_y=True),
        ),
    }
    for label, model in models.items():
        told = cross_val_predict(model, rows, accuracies, groups=names, cv=GroupKFold(10))
        print(f"{label} of the same features: error {np.sqrt(((told - accuracies) ** 2).mean()):.1f} points")


def print_longer(table: BenchmarkTable) -> None:
    """Print by which power of the time what is wrong on CIFAR-10 falls, from the shortest budget to the longest."""
    seconds = sorted(float(name.removeprefix("valid_").removesuffix("s")) for name in table.splits("cifar10"))
    short, long = (100 - table.frame[f"cifar10.valid_{budget:g}s"] for budget in (seconds[0], seconds[-1]))
    exponents = np.log(short / long).dropna() / math.log(seconds[-1] / seconds[0])
    low, middle, high = np.quantile(exponents, (0.25, 0.5, 0.75))
    print(f"what is wrong falls from {seconds[0]:g} s to {seconds[-1]:g} s with the {middle:.2f}th power of the time "
          f"({len(exponents)} networks, quartiles {low:.2f} and {high:.2f})")  # fmt: skip


def print_scores(table: BenchmarkTable) -> None:
    """Print what each zero-cost score adds to the formula, with 95 % bootstrap intervals over networks."""
    names, _, _ = samples(table, "cifar10")
    usual, rows = squares(table, ()), []
    numbers = pd.Series(range(len(names))).groupby(names).apply(list).tolist()
    drawn = np.random.default_rng(0).integers(0, len(numbers), (BOOTSTRAPS, len(numbers)))
    resamples = [np.concatenate([numbers[number] for number in draw]) for draw in drawn]
    columns = [column.partition(".")[2] for column in table.frame if column.startswith("digits.")]
    for score in (column for column in columns if not column.startswith(("valid", "epochs")) and column not in OWN):
        gains, joined_squares = [], squares(table, (score,))
        for chosen in resamples:
            gains.append(usual[chosen].mean() ** 0.5 - joined_squares[chosen].mean() ** 0.5)
        gain, (low, high) = usual.mean() ** 0.5 - joined_squares.mean() ** 0.5, np.quantile(gains, (0.025, 0.975))
        rows.append((score, f"{gain:.2f} ({low:.2f} to {high:.2f})", f"{elsewhere(table, (score,)):.2f}"))
    rows.sort(key=lambda row: -float(row[1].split()[0]))
    print(f"\nWhat a score more takes from the error of {usual.mean() ** 0.5:.2f} points, and how the formula with it, "
          f"fitted to CIFAR-10, ranks the networks on digits: {elsewhere(table, ()):.2f} without any\n")  # fmt: skip
    print_table(("score", "points (95 % interval)", "Spearman on digits"), rows)


def squares(table: BenchmarkTable, scores: Sequence[str]) -> np.ndarray:
    """Squared errors on CIFAR-10, cross-validated."""
    found: np.ndarray = (cross_validated(table, "cifar10", scores) - samples(table, "cifar10")[2]) ** 2
    return found


def elsewhere(table: BenchmarkTable, scores: Sequence[str]) -> float:
    """How a formula that was fitted to CIFAR-10 ranks the networks on the digits."""
    _, rows, accuracies = samples(table, "digits", scores)
    return float(spearmanr(fit_formula(table, "cifar10", scores).predict(rows), accuracies).statistic)


def print_correlations(title: str, part: pd.DataFrame, names: Sequence[str]) -> None:
    """Print one data set and budget, the mean of its seeds; of a cost less is better."""
    means = part.groupby("architecture").mean(numeric_only=True)
    columns = {
        "log epochs": np.log(means["epochs"]), "-step_seconds": -means["step_seconds"],
        "parameters": means["parameters"], "multiply_adds": means["multiply_adds"],
        **{name: means[name] for name in names},
    }  # fmt: skip
    found = evaluate(pd.DataFrame(columns), means["accuracy"], k=min(10, len(means)), resamples=1000)
    accuracies = means["accuracy"]
    print(f"\n{title}: {len(means)} networks, {accuracies.min():.2f} to {accuracies.max():.2f} %, "
          f"{means['epochs'].min():.1f} to {means['epochs'].max():.1f} epochs\n")  # fmt: skip
    print_table(
        ("", "Spearman", "95 % interval"),
        [(row.Index, row.spearman, f"{row.spearman_low:.2f} to {row.spearman_high:.2f}") for row in found.itertuples()],
    )


if __name__ == "__main__":
    main()
