"""Networks and batches are made ready without touching them, or refused with one sentence."""

from __future__ import annotations

from typing import Any

import networks
import numpy as np
import pytest
import torch
from torch import nn

from trainless.data import ImageDataset
from trainless.errors import DataError, NetworkError
from trainless.evaluation import score
from trainless.preparation import distinct_images, prepare_batch, prepare_network
from trainless.scoring import Scorer


class Several(nn.Module):
    """Returns what it is told to, made of a row of class scores and features."""

    def __init__(self, pack: Any) -> None:
        super().__init__()
        self.layer, self.pack = nn.Linear(192, 4), pack

    def forward(self, x: torch.Tensor) -> Any:
        return self.pack(self.layer(x.flatten(1)), x)


class TestBatches:
    def test_copies_and_blank_images_are_left_out_and_said(self) -> None:
        images, labels = networks.batch()
        spoiled = torch.cat([images, images[2:4], torch.full((1, 3, 8, 8), 0.5)])
        note = "Of 11 images 2 copies and 1 blank image are left out: they cannot tell networks apart."
        with pytest.warns(UserWarning, match=f"^{note}$"):
            scores = score(networks.Plain(), spoiled, torch.cat([labels, labels[:3]]), proxies="nwot")
        assert scores.notes == (note,)
        batch = prepare_batch(spoiled, torch.cat([labels, labels[:3]]))
        assert torch.equal(batch.inputs[0], images)
        assert torch.equal(batch.labels, labels)

    def test_an_image_of_one_colour_is_blank(self) -> None:
        colour = torch.tensor([0.1, -0.5, 0.3]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
        kept, note = distinct_images(torch.cat([colour, torch.rand(2, 3, 4, 4)]))
        assert kept.tolist() == [False, True, True]
        assert note == "Of 3 images 1 blank image is left out: they cannot tell networks apart."

    def test_images_of_a_single_value_are_not_blank(self) -> None:
        kept, note = distinct_images(torch.tensor([[1.0], [2.0], [1.0]]))
        assert kept.tolist() == [True, True, False]
        assert "1 copy is left out" in note

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_copies_are_found_in_any_precision(self, dtype: torch.dtype) -> None:
        images = torch.rand(2, 1, 4, 4).to(dtype)
        assert distinct_images(images[[0, 1, 0]])[0].tolist() == [True, True, False]

    def test_several_inputs_are_copies_only_where_all_are(self) -> None:
        images, numbers = torch.rand(2, 4)[[0, 0, 0, 1]], torch.tensor([0, 1, 0, 0])
        assert distinct_images(images, numbers)[0].tolist() == [True, True, False, True]

    def test_batch_of_one_image_over_and_over_has_only_scores_that_read_no_image(self) -> None:
        images, labels = networks.batch()
        with pytest.warns(UserWarning, match="7 copies are left out"):
            scores = score(networks.Plain(), images[:1].expand(8, -1, -1, -1), labels, proxies="nwot, zen, params")
        assert scores.reasons == {"nwot": "the batch has 1 of at least 2 images that are neither copies nor blank"}

    def test_counting_needs_no_images_worth_the_name(self) -> None:
        scores = score(networks.Plain(), torch.zeros(2, 3, 8, 8), proxies="flops")
        assert scores["flops"] > 0

    @pytest.mark.parametrize("value", [float("nan"), float("-inf")])
    def test_images_that_are_not_finite_are_refused(self, value: float) -> None:
        images, labels = networks.batch()
        images[3, 0, 0, 0] = images[5, 1, 2, 3] = value
        with pytest.raises(
            NetworkError, match=r"^2 of 8 images hold NaN or infinite numbers, the first of them image 3,"
        ):
            score(networks.Plain(), images, labels)

    @pytest.mark.parametrize(
        ("images", "message"),
        [
            ((torch.rand(4, 3), torch.rand(3, 3)), "The inputs have 4 and 3 rows"),
            ((torch.rand(4, 3), "text"), "The images are a str, expected a tensor"),
            ((torch.arange(4), torch.arange(4)), r"are torch.int64, torch.int64, expected normalised floating-point"),
        ],
    )
    def test_inputs_that_do_not_fit_are_refused(self, images: Any, message: str) -> None:
        with pytest.raises(NetworkError, match=message):
            prepare_batch(images)

    def test_a_scorer_leaves_copies_out_and_says_so(self, tmp_path: Any) -> None:
        digits = Scorer("nasbench201", "params", "digits").dataset
        doubled = ImageDataset(
            digits.task, digits.images[[0, 0, 1, 2]], digits.labels[[0, 0, 1, 2]], digits.class_names, digits.mean,
            digits.std,
        )  # fmt: skip
        scorer = Scorer("nasbench201(channels=4, cells=1)", "params, snip", doubled, batch_size=4, workers=0)
        with pytest.warns(UserWarning, match="Of 4 images 1 copy is left out"):
            scorer.score([scorer.space.sample(np.random.default_rng(0))])
        assert scorer.note.startswith("Of 4 images 1 copy is left out")
        assert len(scorer.batch.images) == len(scorer.protocol.images) == 3
        assert "batch=3" in scorer.run.fidelity
        same = ImageDataset(
            digits.task, digits.images[[0, 0, 1]], digits.labels[[0, 0, 1]], digits.class_names, digits.mean, digits.std
        )
        same.images[:] = same.images[0]
        with pytest.raises(DataError, match="Fewer than 2 remain"):
            Scorer("nasbench201", "params, snip", same, batch_size=3)
        assert len(Scorer("nasbench201", "params", same, batch_size=3).batch.images) == 3


class TestOutputs:
    def test_class_scores_are_named_by_key_attribute_or_index(self) -> None:
        images, labels = networks.batch()
        network = Several(lambda y, x: y)
        expected = score(network, images, labels, proxies="snip")
        for pack, output in ((lambda y, x: {"a": x, "b": y}, "b"), (lambda y, x: [x, y], 1), (lambda y, x: (y, x), 0)):
            network.pack = pack
            assert score(network, images, labels, proxies="snip", output=output) == expected

    def test_output_that_is_not_there_is_refused(self) -> None:
        with pytest.raises(NetworkError, match="'scores' was asked for, but the network returns a dict with 'b': name"):
            score(Several(lambda y, x: {"b": y}), *networks.batch(), proxies="snip", output="scores")
        with pytest.raises(
            NetworkError, match="output 7 was asked for, but the network returns a tuple with 0, 1: name"
        ):
            score(Several(lambda y, x: (y, x)), *networks.batch(), proxies="snip", output=7)

    def test_nothing_returned_is_refused(self) -> None:
        with pytest.raises(NetworkError, match="returns a NoneType, expected one tensor"):
            score(Several(lambda y, x: None), *networks.batch())


class TestNetworks:
    def test_wrappers_are_looked_through_however_many(self) -> None:
        inner = networks.Plain()
        assert prepare_network(nn.DataParallel(nn.DataParallel(inner))) is inner

    def test_distributed_wrapper_is_looked_through(self) -> None:
        store = torch.distributed.HashStore()
        torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
        try:
            inner = networks.Plain()
            assert prepare_network(nn.parallel.DistributedDataParallel(inner)) is inner
        finally:
            torch.distributed.destroy_process_group()

    def test_network_is_the_very_one_that_was_given(self) -> None:
        network = networks.Plain()
        assert prepare_network(network) is network
