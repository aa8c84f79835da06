"""The teacher axis over several devices, in a process that has four of them."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unoptimized_module")]

PROGRAM = """
import functools, json
import jax, numpy as np
from raptor_jax.population import sac as populations
from raptor_jax.population import blocks, sharding
from raptor_jax.training import rounds
from raptor_jax.config import Config
from raptor_jax.drones.parameters import stack
from raptor_jax.utils.trees import take
from validation.drones import sampled_drones

small = {"critic_hidden_dim": 8, "actor_hidden_dim": 8, "critic_batch_size": 8, "actor_batch_size": 8}
model_free = {"sac": {**small, "horizon": 0, "n_warmup_steps": 32, "replay_capacity": 64}}
windows = {"sac": {**small, "horizon": 4}, "environment": {"environments_per_teacher": 2}}
mesh = sharding.mesh()
rows = blocks.filled_up(np.arange(6), mesh, block=1)
drones = take(stack(sampled_drones(6)), rows)
found = {"devices": mesh.size, "padded": rows.tolist()}
for name, settings in (("model_free", model_free), ("windows", windows)):
    config = Config.model_validate(settings | {"training": {"steps_per_teacher": 640}})
    population = jax.eval_shape(functools.partial(populations.create, config), drones, rows)
    train = functools.partial(populations.train, config, iterations=2)
    updates = jax.ShapeDtypeStruct((), np.int32)
    found[name] = {
        "text": sharding.compile_sharded(mesh, train, population, drones, updates, donate=True).as_text(),
        "teachers_of_a_device": sharding.shapes(mesh, population).active.sharding.shard_shape(rows.shape),
    }
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found():
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "4", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_last_teacher_is_repeated(found):
    assert (found["devices"], found["padded"]) == (4, [0, 1, 2, 3, 4, 5, 5, 5])


@pytest.mark.parametrize("kind", ["model_free", "windows"])
def test_training_needs_no_collectives(found, kind):
    assert found[kind]["teachers_of_a_device"] == [2]
    text = found[kind]["text"]
    # The text is that of the program: it names the scan over the updates.
    assert "while" in text
    for collective in ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter"):
        assert collective not in text
