"""A population that is small enough to compile quickly, model-free, for the tests of everything that learns."""

import json
import os
from collections import Counter
from pathlib import Path

import jax
import pytest

from benchmarks import gpu_cards
from raptor_jax import cli, config
from raptor_jax.commands import exit_status
from raptor_jax.config import Config
from raptor_jax.drones.parameters import Drone, stack
from tests import compilation
from tests.runs.builder import write_actors, write_run
from validation.drones import REFERENCE, on_device, sampled_drones

jax.config.update("jax_numpy_rank_promotion", "raise")
# Now, so that this process has one device, whichever command is tested in it first.
jax.devices()

TEACHERS = 3
NEEDS = {
    "cuda": (gpu_cards.plugin() is not None, "the extra cuda12 or cuda13, which compile for GPUs"),
    "mount": (os.geteuid() == 0, "root, who may mount a disk"),
    "reference": (REFERENCE.is_dir(), f"the reference drones in {REFERENCE}"),
}
"""By marker: whether it is here, and what is needed. `scripts/test.sh` cannot bring these."""


def pytest_report_header():
    return [f"not run are the tests that need {need}" for here, need in NEEDS.values() if not here]


def pytest_collection_modifyitems(config, items):
    """Leaves out what the header says, and begins with the files that have slow tests, which would end last."""
    lacking = {name for name, (here, _) in NEEDS.items() if not here}
    left_out = [item for item in items if any(item.get_closest_marker(name) for name in lacking)]
    config.hook.pytest_deselected(items=left_out)
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items[:] = sorted((item for item in items if item not in left_out), key=lambda item: -slow[item.path])


@pytest.fixture(scope="session", autouse=True)
def kept_programs():
    """The directory of compiled programs that the processes of this worker share."""
    with compilation.keeping_programs(os.environ.get("PYTEST_XDIST_WORKER", "alone")) as own:
        yield own


@pytest.fixture(scope="module", autouse=True)
def compiled_programs_are_dropped(kept_programs):
    """Drops programs after each module, because XLA:CPU crashes at the limit of 65 530 memory maps per process."""
    yield
    jax.clear_caches()
    compilation.exchange(kept_programs)


@pytest.fixture(scope="module")
def unoptimized_module():
    """For modules that train only to check files and messages: programs are compiled without optimization."""
    with compilation.without_optimization():
        yield


@pytest.fixture
def unoptimized():
    """As `unoptimized_module`, for a single test."""
    with compilation.without_optimization():
        yield


@pytest.fixture
def compiled_anew():
    """For tests that observe the compiler or the disk: the cache of programs is disabled."""
    with compilation.compiling_anew():
        yield


@pytest.fixture
def refused(capsys):
    """A function that runs a command that must be refused, and returns its one line."""

    def run(*arguments) -> str:
        assert cli.main([str(argument) for argument in arguments]) == exit_status.USAGE
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        return line

    return run


@pytest.fixture
def numbers(tmp_path):
    """A function that runs a command on a processor, and returns what its --json writes."""

    def run(*arguments, statuses=(exit_status.PASSED,)) -> dict:
        path = tmp_path / "numbers.json"
        assert cli.main([*map(str, arguments), "--device", "cpu", "--json", str(path)]) in statuses
        return json.loads(path.read_text())

    return run


@pytest.fixture(scope="session")
def tiny_config() -> Config:
    """Small networks and short episodes, and a replay (14 MB) that is much larger than everything else."""
    return config.load(
        "configs/model_free.yaml",
        {
            "environment.environments_per_teacher": 2,
            "environment.episode_steps": 5,
            "sac.actor_hidden_dim": 8,
            "sac.critic_hidden_dim": 8,
            "sac.critic_batch_size": 8,
            "sac.actor_batch_size": 4,
            "sac.n_warmup_steps": 8,
            "sac.replay_capacity": 20_000,
            "training.steps_per_teacher": 20_000,
        },
    )


@pytest.fixture(scope="session")
def drones() -> Drone:
    """Three sampled drones, every array [3, ...]."""
    return on_device(stack(sampled_drones(TEACHERS)))


@pytest.fixture(scope="session")
def run_of_4(tmp_path_factory) -> Path:
    """A run with a checkpoint; its last teacher did not pass."""
    run = tmp_path_factory.mktemp("of_4") / "pre_training"
    write_run(run, 4)
    write_actors(run)
    return run


@pytest.fixture(scope="session")
def run_of_1000(tmp_path_factory) -> Path:
    """A large run without a checkpoint; its last teacher did not pass."""
    run = tmp_path_factory.mktemp("of_1000") / "pre_training"
    write_run(run, 1000)
    return run
