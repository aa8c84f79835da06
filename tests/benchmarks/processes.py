"""Python in a process of its own, for benchmarks, and settings of a training that compiles quickly."""

import os
import subprocess
import sys
from pathlib import Path

TINY = """
environment: {environments_per_teacher: 2, episode_steps: 10}
sac:
  actor_hidden_dim: 8
  critic_hidden_dim: 8
  horizon: 0
  critic_batch_size: 8
  actor_batch_size: 8
  n_warmup_steps: 16
  replay_capacity: 200
training:
  steps_per_teacher: 256
  eval_episodes: 2
  final_eval_episodes: 2
  extra_rounds: 0
"""
"""A run makes 120 updates."""


def finish(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs Python where no device is looked for: without one, the plugin that the extra brings fails at its start."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
        check=False,
    )


def output(*arguments: object, **environment: str) -> str:
    """Returns what a process prints that must succeed."""
    finished = finish(*arguments, **environment)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def refusal(*arguments: object, **environment: str) -> str:
    """Returns the one line of a process that must refuse its input."""
    finished = finish(*arguments, **environment)
    assert finished.returncode == 1
    (line,) = finished.stderr.splitlines()
    assert line.startswith("error: ")
    return line
