"""Training in several processes is training in one; what ends a process ends all; logs are what TensorBoard reads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_training import ALL_SWITCHES, AUGMENTED, toy
from torch import nn

from trainless.errors import InputError, ScoringError
from trainless.training import Devices, Recipe, TrainingResult, TrainingState, train
from trainless.training.processes import _Packed

RECIPE = replace(AUGMENTED, batch_size=16, balanced=True)
DATA = toy(41), toy(31, 1)  # shares of a batch differ in size
TWO = Devices(devices=2)


class Idle(nn.Module):
    """A network with a weight that leads nowhere."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        self.idle = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


class Fatal(nn.Module):
    """Kills the process that is the second of a group."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and os.environ.get("LOCAL_RANK") == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        return self.body(x)


class Slower(nn.Module):
    """Takes longer in one precision than in the other, when it learns."""

    def __init__(self, precision: str) -> None:
        super().__init__()
        self.precision, self.body = precision, nn.Sequential(nn.Flatten(), nn.Linear(192, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and (self.precision == "bf16-mixed") == torch.is_autocast_enabled("cpu"):
            time.sleep(0.005)
        return self.body(x)


def trained(**options: Any) -> tuple[nn.Module, TrainingResult, list[TrainingState]]:
    network, states = Idle(), list[TrainingState]()
    given = {"epochs": 3, "recipe": RECIPE, "on_epoch": states.append} | options
    return network, train(network, *DATA, **given), states


@pytest.fixture(scope="module")
def alone() -> tuple[nn.Module, TrainingResult, list[TrainingState]]:
    return trained()


def assert_alike(first: nn.Module, second: nn.Module) -> None:
    for name, value in first.state_dict().items():
        assert torch.allclose(value, second.state_dict()[name], atol=1e-5), name


def assert_equal_results(first: TrainingResult, second: TrainingResult) -> None:
    assert first.train_losses == pytest.approx(second.train_losses, abs=1e-5)
    assert first.valid_accuracies == second.valid_accuracies
    assert first.best_epoch == second.best_epoch


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
class TestProcesses:
    def test_two_come_to_what_one_comes_to_and_go_on_where_one_stood(
        self, alone: tuple[nn.Module, TrainingResult, list[TrainingState]]
    ) -> None:
        expected, result, states = alone
        network, together, seen = trained(devices=TWO, resume=states[0])
        assert_alike(network, expected)
        assert_equal_results(together, result)
        assert [each.epochs for each in seen] == [2, 3]
        assert seen[-1].optimizer["state"].keys() == states[-1].optimizer["state"].keys()  # the idle ones have none

    def test_two_come_to_what_one_comes_to_with_all_switches_on(self) -> None:
        recipe = replace(ALL_SWITCHES, batch_size=16)
        expected, result, states = trained(recipe=recipe, epochs=2)
        network, together, seen = trained(recipe=recipe, epochs=2, devices=TWO)
        assert_alike(network, expected)
        assert_equal_results(together, result)
        for name, value in states[-1].averaged_weights.items():
            assert torch.allclose(value, seen[-1].averaged_weights[name], atol=1e-5), name

    def test_torchrun_starts_them_as_well(
        self, alone: tuple[nn.Module, TrainingResult, list[TrainingState]], tmp_path: Path
    ) -> None:
        script = tmp_path / "script.py"
        script.write_text(
            "import os, sys, torch\n"
            "import test_training_devices as t\n"
            "network, result, states = t.trained(devices=t.TWO)\n"
            "alone, _, _ = t.trained(epochs=1)\n"  # one alone stays alone
            "torch.save({'weights': network.state_dict(), 'losses': result.train_losses, 'told': len(states)},\n"
            "           os.path.join(sys.argv[1], os.environ['RANK']))\n"
        )
        command = ["torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0"]
        places = os.pathsep.join([*sys.path, str(Path(__file__).parent)])
        done = subprocess.run(
            [sys.executable, "-m", *command, str(script), str(tmp_path)], capture_output=True, text=True, check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": places},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        expected, result, _ = alone
        for rank, told in (("0", 3), ("1", 0)):
            found = torch.load(tmp_path / rank, weights_only=True)
            assert found["losses"] == pytest.approx(result.train_losses, abs=1e-5)
            assert found["told"] == told
            for name, value in expected.state_dict().items():
                assert torch.allclose(value, found["weights"][name], atol=1e-5)

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
    def test_one_that_is_killed_ends_all_with_one_sentence(self) -> None:
        with pytest.raises(ScoringError, match=r"Process 2 of 2 of the training died \(exit code -9\)"):
            train(Fatal(), *DATA, epochs=2, recipe=RECIPE, devices=TWO)

    def test_what_is_raised_after_an_epoch_ends_them(self) -> None:
        import multiprocessing

        seen: list[int] = []

        def stop(state: TrainingState) -> None:
            seen[:] = [each.pid or 0 for each in multiprocessing.active_children()]
            if state.epochs == 1:  # as the terminal does, to all of them: the one that started them decides
                for process in seen:
                    os.kill(process, signal.SIGINT)
            if state.epochs == 3:
                raise KeyboardInterrupt("stop")

        with pytest.raises(KeyboardInterrupt, match="stop"):
            train(Idle(), *DATA, epochs=500, recipe=RECIPE, devices=TWO, on_epoch=stop)
        assert len(seen) == 2
        assert not any(map(is_running, seen))

    def test_a_network_is_sent_whole(self) -> None:
        network = Idle()
        network.body[3].register_buffer("steps", torch.arange(3), persistent=False)
        network.idle.weight = nn.Parameter(network.idle.weight.detach(), requires_grad=False)
        other = nn.Linear(2, 2)
        other.weight = network.idle.weight  # one weight of two layers
        network.add_module("other", other)
        packed = _Packed(network).__getstate__()
        assert all(each.numel() == 0 for each in packed["network"].parameters())
        made = _Packed.__new__(_Packed)
        made.__setstate__(packed)
        assert made.network.other.weight is made.network.idle.weight
        assert not made.network.idle.weight.requires_grad
        assert made.network.body[3].steps.tolist() == [0, 1, 2]
        for name, value in network.state_dict().items():
            assert torch.equal(value, made.network.state_dict()[name])

    def test_a_network_that_cannot_be_sent_is_refused(self) -> None:
        class Inner(Idle):
            pass

        with pytest.raises(InputError, match="Inner cannot be sent to other processes"):
            train(Inner(), *DATA, epochs=1, recipe=RECIPE, devices=TWO)


class TestDevices:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"accelerator": "cpus"}, "did you mean 'cpu'"),
            ({"precision": "16"}, "There is no precision '16'"),
            ({"devices": 0}, "number of devices is 0"),
            ({"nodes": 1.5}, "number of nodes is 1.5"),
        ],
    )
    def test_refuses(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(InputError, match=message):
            Devices(**options)

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_a_gpu_that_is_not_there(self) -> None:
        with pytest.raises(InputError, match="PyTorch finds 0 GPUs here, expected 1"):
            Devices("gpu").resolved()
        assert Devices("auto").resolved().accelerator == "cpu"

    @pytest.mark.parametrize("known", ["amx_bf16", "avx512_bf16", "avx2"])
    def test_bfloat16_is_open_where_there_are_instructions_for_it(
        self, known: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {known: True})
        assert Devices(precision="auto").resolved().precision == ("32-true" if known == "avx2" else "auto")

    def test_the_faster_precision_is_taken_and_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
        options: dict[str, Any] = {"epochs": 2, "recipe": RECIPE, "devices": Devices(precision="auto")}
        states: list[TrainingState] = []
        result = train(Slower("32-true"), *DATA, on_epoch=states.append, **options)
        assert result.precision == states[0].precision == "bf16-mixed"
        assert train(Slower("bf16-mixed"), *DATA, **options).precision == "32-true"
        # One that goes on does not choose anew.
        assert train(Slower("bf16-mixed"), *DATA, resume=states[0], **options).precision == "bf16-mixed"

    def test_nodes_need_a_launcher(self) -> None:
        with pytest.raises(InputError, match="The processes started are 1, but 2 nodes with 1 devices each"):
            trained(devices=Devices(nodes=2))

    def test_a_batch_that_is_too_small_to_share(self) -> None:
        with pytest.raises(InputError, match="Batches of 2 images give 2 processes less than 2 each"):
            trained(devices=TWO, recipe=Recipe(batch_size=3))

    def test_mixed_precision_is_measured_in_float32(self) -> None:
        seen: list[torch.dtype] = []
        network = Idle()
        network.body[3].register_forward_hook(lambda module, _, output: seen.append((module.training, output.dtype)))
        result = train(network, *DATA, epochs=1, recipe=RECIPE, devices=Devices(precision="bf16-mixed"))
        assert set(seen) == {(False, torch.float32), (True, torch.bfloat16)}
        assert result.epochs == 1
        assert all(value.dtype == torch.float32 for value in network.state_dict().values())


@pytest.mark.slow
def test_log_has_each_epoch_once_after_a_training_that_was_killed(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TensorBoard's own
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def read(folder: Path) -> Any:
        return EventAccumulator(str(folder)).Reload()

    _, result, states = trained(log_folder=tmp_path)
    trained(log_folder=tmp_path, resume=states[0])  # 2 and 3 again: they were lost, but for the log
    log = read(tmp_path)
    scalars = {
        tag: {event.step: event.value for event in log.Scalars(tag)}
        for tag in ("loss/train", "accuracy/valid", "learning_rate")
    }
    assert [event.step for event in log.Scalars("loss/train")] == [1, 2, 3]
    assert list(scalars["loss/train"].values()) == pytest.approx(result.train_losses, rel=1e-6)
    assert list(scalars["accuracy/valid"].values()) == pytest.approx(result.valid_accuracies, rel=1e-6)
    rates = [RECIPE.rate_at(3 * epoch - 1, 9) for epoch in (1, 2, 3)]  # 41 images are 3 batches
    assert list(scalars["learning_rate"].values()) == pytest.approx(rates, rel=1e-6)
    assert "| batch\\_size | 16 |" in log.Tensors("recipe/text_summary")[-1].tensor_proto.string_val[0].decode()
    assert log.Scalars("best/accuracy")[-1].value == pytest.approx(result.valid_accuracy, rel=1e-6)
