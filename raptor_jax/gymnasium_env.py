"""The simulator as Gymnasium environments: one drone, or many that step in one compiled call.

Importing this module registers both with Gymnasium:

    gymnasium.make("raptor_jax.gymnasium_env:raptor_jax/Quadrotor-v0", drone="crazyflie")
    gymnasium.make_vec("raptor_jax.gymnasium_env:raptor_jax/Quadrotor-v0", num_envs=64, drones=drones)

Both wrap `raptor_jax.simulator`. An observation [26] is position error (3, m, world frame), rotation matrix row by row
(9), velocity error (3, m/s, world frame), body rates (3, rad/s), previous action (4) and rotor states in [-1, 1] (4).
An action [4] is a throttle in [-1, 1] for each rotor: front right, back right, back left, front left. The task defines
reward and limits; an episode is truncated after `environment.episode_steps` steps of `environment.dt` seconds.

`info` contains the state, float32, with the names of `raptor_jax.simulator.State`:

    position, linear_velocity             [3] m and m/s, world frame
    orientation                           [4] unit quaternion (w, x, y, z), body to world
    angular_velocity                      [3] rad/s, body frame
    rotor_state                           [4] state of each rotor, in the unit of the drone's `action_limit`
    target_position, target_velocity      [3] m and m/s, world frame
    force, torque                         [3] N, world frame, and N m, body frame: external, constant in an episode
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from raptor_jax.config import Config
from raptor_jax.drones.files import DroneFile, find_drone, load_drone, stack_for_training
from raptor_jax.drones.parameters import Drone
from raptor_jax.drones.tasks import for_training
from raptor_jax.errors import UserError
from raptor_jax.simulator import ACTION_DIM, OBSERVATION_DIM, draw_noise, episode
from raptor_jax.simulator.episode import Episode
from raptor_jax.simulator.step import STATE_LIMIT

try:
    import gymnasium
    from gymnasium.utils import seeding
    from gymnasium.vector import AutoresetMode, VectorEnv
    from gymnasium.vector.utils import batch_space
except ModuleNotFoundError as error:
    problem = f"raptor_jax.gymnasium_env needs the package {error.name}; install raptor-jax[gymnasium]"
    raise ModuleNotFoundError(problem, name=error.name) from None

ID = "raptor_jax/Quadrotor-v0"

Info = dict[str, Any]


class _Flight(struct.PyTreeNode):
    """A running episode and its random key."""

    episode: Episode
    finished: jax.Array
    """[] bool."""
    key: jax.Array
    """[] for the following steps, and the next episode."""


class QuadrotorEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """One drone and its task.

    >>> from raptor_jax import sample_drones
    >>> environment = QuadrotorEnv(sample_drones(1)[0])
    >>> observation, info = environment.reset(seed=0)
    >>> observation, reward, terminated, truncated, info = environment.step(np.zeros(4))
    >>> observation.shape, type(reward), terminated, truncated
    ((26,), <class 'float'>, False, False)
    """

    def __init__(self, drone: DroneFile | str | Path, config: Config | None = None) -> None:
        """Creates the environment; `reset` must be called first.

        Args:
            drone: the drone, its file, or the name of a platform.
            config: settings, of which only the section `environment` is used; None for the defaults.

        Raises:
            UserError: the drone's file is invalid, or its integration step is not `environment.dt`.
        """
        config = config or Config()
        self.observation_space, self.action_space = _spaces()
        file = _file(drone)
        self._drone = jax.tree.map(jnp.asarray, for_training(file.drone, config.environment, str(file.path)))
        self._episode_steps = config.environment.episode_steps
        self._flight: _Flight | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, Info]:
        """Starts an episode; a seed determines it and all following episodes that are reset without a seed.

        Args:
            seed: at least 0; None continues the random sequence.
            options: must be empty.

        Raises:
            UserError: `options` is not empty.
        """
        super().reset(seed=seed)
        _require_no_options(options)
        if seed is not None or self._flight is None:
            key = jax.random.key(_key_seed(self.np_random))
        else:
            key = self._flight.key
        self._flight = _begin_one(self._drone, key)
        return _report(self._flight.episode)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, Info]:
        """Applies an action [4] for one control period.

        Returns:
            Observation [26] float32, reward, terminated (the drone violated a limit), truncated (the episode reached
            `environment.episode_steps`), and info.
        """
        if self._flight is None:
            raise gymnasium.error.ResetNeeded("reset the environment before the first step")
        taken = jnp.asarray(action, float)
        chex.assert_shape(taken, (ACTION_DIM,))
        self._flight, outcome = _step_one(self._drone, self._flight, taken, self._episode_steps)
        observation, info = _report(self._flight.episode)
        reward, terminated, truncated = jax.device_get(outcome)
        return observation, float(reward), bool(terminated), bool(truncated), info


class QuadrotorVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """N environments that step in one compiled call; environment i has drone i modulo the number of drones.

    The step after the end of an episode resets that environment and ignores its action (Gymnasium's NEXT_STEP). Seeds
    follow Gymnasium's vector environments: environment i behaves like a `QuadrotorEnv` with the seed + i.

    >>> from raptor_jax import sample_drones
    >>> environments = QuadrotorVectorEnv(sample_drones(2), num_envs=6)
    >>> observations, infos = environments.reset(seed=0)
    >>> observations, rewards, terminated, truncated, infos = environments.step(environments.action_space.sample())
    >>> observations.shape, rewards.shape, infos["position"].shape
    ((6, 26), (6,), (6, 3))
    """

    def __init__(
        self, drones: Sequence[DroneFile | str | Path], num_envs: int | None = None, config: Config | None = None
    ) -> None:
        """Creates the environments; `reset` must be called first.

        Args:
            drones: the drones, their files, or names of platforms.
            num_envs: N, at least the number of drones; None for one environment per drone.
            config: as for `QuadrotorEnv`.

        Raises:
            UserError: as `QuadrotorEnv`, or `num_envs` is less than the number of drones.
        """
        config = config or Config()
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.num_envs = len(drones) if num_envs is None else num_envs
        if not drones:
            raise UserError("drones: there are none; name at least one")
        if self.num_envs < len(drones):
            raise UserError(f"num_envs: {self.num_envs} is below the number of drones, {len(drones)}; raise it")
        self.single_observation_space, self.single_action_space = _spaces()
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        flown = np.arange(self.num_envs) % len(drones)
        stacked = stack_for_training([_file(drone) for drone in drones], config.environment)
        self._drones = jax.tree.map(lambda leaf: jnp.asarray(leaf[flown]), stacked)
        self._episode_steps = config.environment.episode_steps
        self._flights: _Flight | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, Info]:
        """Starts an episode in every environment; returns observations [N, 26] and infos, every array [N, ...].

        Args:
            seed: seed of environment 0; environment i has the seed + i. None continues the random sequences.
            options: must be empty.

        Raises:
            UserError: `options` is not empty.
        """
        super().reset(seed=seed)
        _require_no_options(options)
        if seed is not None or self._flights is None:
            first = int(self.np_random.integers(2**32)) if seed is None else seed
            draws = [_key_seed(seeding.np_random(first + i)[0]) for i in range(self.num_envs)]
            keys = jax.vmap(jax.random.key)(jnp.asarray(draws, jnp.uint32))
        else:
            keys = self._flights.key
        self._flights = _begin_all(self._drones, keys)
        return _report_all(self._flights.episode)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, Info]:
        """Applies actions [N, 4] for one control period, and resets the environments whose episode had ended.

        Returns:
            Observations [N, 26], rewards [N] float32, terminated and truncated [N] bool, and infos, arrays [N, ...].
            The reward of an environment that was reset is 0.
        """
        if self._flights is None:
            raise gymnasium.error.ResetNeeded("reset the environments before the first step")
        taken = jnp.asarray(actions, float)
        chex.assert_shape(taken, (self.num_envs, ACTION_DIM))
        self._flights, outcome = _step_all(self._drones, self._flights, taken, self._episode_steps)
        observations, infos = _report_all(self._flights.episode)
        rewards, terminated, truncated = (np.array(array) for array in jax.device_get(outcome))
        return observations, rewards, terminated, truncated, infos


_Outcome = tuple[jax.Array, jax.Array, jax.Array]
"""Reward, terminated and truncated."""


def _begin(drone: Drone, key: jax.Array) -> _Flight:
    following_key, start_key = jax.random.split(key)
    return _Flight(episode.start(drone, start_key), jnp.zeros((), bool), following_key)


def _step(drone: Drone, flight: _Flight, action: jax.Array, episode_steps: int) -> tuple[_Flight, _Outcome]:
    following_key, step_key = jax.random.split(flight.key)
    outcome = episode.advance(drone, flight.episode, action, episode_steps, draw_noise(drone, step_key))
    truncated = outcome.finished & ~outcome.terminated
    following = _Flight(outcome.episode, outcome.finished, following_key)
    return following, (outcome.reward, outcome.terminated, truncated)


def _step_or_begin(drone: Drone, flight: _Flight, action: jax.Array, episode_steps: int) -> tuple[_Flight, _Outcome]:
    """Takes a step, or resets a finished flight; a reset step has zero reward and does not end an episode."""
    fresh = _begin(drone, flight.key)
    following, outcome = _step(drone, flight, action, episode_steps)
    nothing = jax.tree.map(jnp.zeros_like, outcome)
    return jax.tree.map(lambda new, old: jnp.where(flight.finished, new, old), (fresh, nothing), (following, outcome))


_begin_one = jax.jit(_begin)
_begin_all = jax.jit(jax.vmap(_begin))
_step_one = jax.jit(_step, static_argnums=3)
_step_all = jax.jit(jax.vmap(_step_or_begin, in_axes=(0, 0, 0, None)), static_argnums=3)


def _file(drone: DroneFile | str | Path) -> DroneFile:
    return drone if isinstance(drone, DroneFile) else load_drone(find_drone(drone))


def _spaces() -> tuple[gymnasium.spaces.Box, gymnasium.spaces.Box]:
    """Returns the spaces of an observation [26] and of an action [4]."""
    # Gymnasium requires finite bounds. The simulator clamps its state; the factor 2 is a margin for target and noise.
    bound = np.full(OBSERVATION_DIM, 2 * STATE_LIMIT, np.float32)
    return gymnasium.spaces.Box(-bound, bound), gymnasium.spaces.Box(-1, 1, (ACTION_DIM,))


def _key_seed(random: np.random.Generator) -> np.uint32:
    """Returns the seed of an environment's random key."""
    return random.integers(2**32, dtype=np.uint32)


def _report(now: Episode) -> tuple[np.ndarray, Info]:
    """Returns copies of the observation and of the info of an episode."""
    state = now.state
    info = {
        "position": state.position,
        "orientation": state.orientation,
        "linear_velocity": state.linear_velocity,
        "angular_velocity": state.angular_velocity,
        "rotor_state": state.rotor_state,
        "target_position": state.target.position,
        "target_velocity": state.target.velocity,
        "force": state.force,
        "torque": state.torque,
    }
    # Trainers may write into these arrays; those of JAX are read-only.
    return jax.tree.map(lambda leaf: np.array(leaf, np.float32), jax.device_get((now.observation, info)))


def _report_all(now: Episode) -> tuple[np.ndarray, Info]:
    """Returns the observations and the infos of N episodes, with Gymnasium's masks of present infos."""
    observations, infos = _report(now)
    return observations, infos | {f"_{name}": np.ones(len(observations), bool) for name in infos}


def _require_no_options(options: dict[str, Any] | None) -> None:
    if options:
        raise UserError(f"options: {next(iter(options))}: reset has no such option; omit it")


gymnasium.register(
    ID,
    entry_point="raptor_jax.gymnasium_env:QuadrotorEnv",
    vector_entry_point="raptor_jax.gymnasium_env:QuadrotorVectorEnv",
)
