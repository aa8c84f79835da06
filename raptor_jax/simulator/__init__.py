"""L2F's quadrotor simulator in JAX: pure functions of one drone, without batch axes.

`reset`, `step`, `observe`, `reward` and others take a `Drone` (physics and task) and a `State`; `jax.vmap` adds batch
axes. The operations have the same order as in L2F, so that the code can be compared side by side.
"""

from raptor_jax.simulator.noise import Noise, draw_noise
from raptor_jax.simulator.observation import ACTION_DIM, OBSERVATION_DIM, WITHOUT_ROTORS, observe
from raptor_jax.simulator.reset import reset
from raptor_jax.simulator.reward import alive_reward, limit_ratio, reward, terminated
from raptor_jax.simulator.state import State, Target
from raptor_jax.simulator.step import step

__all__ = [
    "ACTION_DIM",
    "OBSERVATION_DIM",
    "WITHOUT_ROTORS",
    "Noise",
    "State",
    "Target",
    "alive_reward",
    "draw_noise",
    "limit_ratio",
    "observe",
    "reset",
    "reward",
    "step",
    "terminated",
]
