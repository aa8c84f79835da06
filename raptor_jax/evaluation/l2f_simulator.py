"""Drives the original simulator: the `l2f` package, version 2.0.18 (float32, C++ behind pybind11).

A state's `position` is a NumPy view of the C++ struct, whose other fields follow it in the same block of memory.
`L2FSimulator` reads and writes the whole struct through that view, since the package has no other access to the
external force and torque, the previous action, the action history and the trajectory. The layout is checked on
construction against the package's own accessors and its JSON output, so a package with another layout raises an error
instead of giving wrong results.

The package is compiled without the Langevin process (`LANGEVIN = false`), so its target never moves and is never drawn.
A target that is written here does enter its rewards and observations.
"""

import json
from collections.abc import Sequence
from typing import Any

import l2f
import numpy as np

from raptor_jax.drones.files import to_json
from raptor_jax.drones.parameters import Drone
from raptor_jax.errors import UserError
from raptor_jax.simulator import State, Target

HISTORY_LENGTH = 16
"""Previous actions that the package's observation holds, newest first."""

COMMON_OBSERVATION = 22
"""Entries that the observations of the package and of raptor_jax share: pose, velocities, and the previous action."""

LARGEST_BATCH = max(l2f.vector_selector)
"""Environments that the package holds at once."""

_FIELDS = {
    "position": slice(0, 3),
    "orientation": slice(3, 7),
    "linear_velocity": slice(7, 10),
    "angular_velocity": slice(10, 13),
    "last_action": slice(13, 17),
    "force": slice(20, 23),
    "torque": slice(23, 26),
    "rotor_state": slice(26, 30),
}
_STEP_COUNT = 30
_HISTORY = slice(32, 32 + 4 * HISTORY_LENGTH)
_TRAJECTORY_TYPE = _HISTORY.stop
_TARGET_FIELDS = {
    name: slice(_TRAJECTORY_TYPE + 1 + 3 * i, _TRAJECTORY_TYPE + 4 + 3 * i)
    for i, name in enumerate(("position", "velocity", "raw_position", "raw_velocity"))
}

_SHOWN_AS = {"rotor_state": "rpm", "raw_position": "position_raw", "raw_velocity": "velocity_raw"}
_NOT_SHOWN = ("force", "torque")  # they lie between fields that are shown; their effect is what the tests compare


class L2FSimulator:
    """A batch of L2F environments, one for each drone given."""

    def __init__(self, drones: Sequence[Drone], seed: int = 0) -> None:
        """Creates an environment for each drone, at most LARGEST_BATCH; `seed` is that of resets and noise."""
        self.count = len(drones)
        capacity = min(size for size in l2f.vector_selector if size >= max(self.count, 2))
        self._module = l2f.vector_selector[capacity]
        self._device = l2f.Device()
        self._environment = self._module.VectorEnvironment()
        self._random = self._module.VectorRng()
        self._parameters = self._module.VectorParameters()
        self._states = self._module.VectorState()
        self._next_states = self._module.VectorState()
        self._module.initialize_environment(self._device, self._environment)
        self._module.initialize_rng(self._device, self._random, seed)
        self._module.initial_parameters(self._device, self._environment, self._parameters)
        self._module.initial_state(self._device, self._environment, self._parameters, self._states)
        self._capacity = capacity
        self._memory = _memory(self._states)
        self._next_memory = _memory(self._next_states)
        self._check_layout()
        self.set_drones(drones)

    def set_drones(self, drones: Sequence[Drone]) -> None:
        """Replaces the drones; each distinct object is parsed once."""
        distinct = {id(drone): drone for drone in drones}
        parsed = {identity: self._parse(drone) for identity, drone in distinct.items()}
        rows = [parsed[id(drone)] for drone in drones]
        self._parameters.parameters = rows + rows[:1] * (self._capacity - len(rows))

    def write(self, state: State) -> None:
        """Sets every field of the states, [B] each."""
        _write(self._memory[: self.count], state)

    def write_next_target(self, target: Target) -> None:
        """Sets the targets, [B] each, of the next states: the package itself does not move them."""
        _write_target(self._next_memory[: self.count], target)

    def read(self) -> State:
        """Returns a copy of the states."""
        return _read(self._memory[: self.count])

    def reset(self) -> State:
        """Draws initial states."""
        self._module.sample_initial_state(self._device, self._environment, self._parameters, self._states, self._random)
        return self.read()

    def step(self, action: np.ndarray) -> State:
        """Returns the states after one step with actions [B, 4]; the present states do not change."""
        self._module.step(
            self._device, self._environment, self._parameters, self._states, self._full(action), self._next_states,
            self._random,
        )  # fmt: skip
        return _read(self._next_memory[: self.count])

    def advance(self) -> None:
        """Makes the next states the present ones."""
        self._memory[:] = self._next_memory

    def reward(self, action: np.ndarray) -> np.ndarray:
        """Returns the rewards [B] of actions [B, 4] between the states and the next states."""
        rewards = np.zeros(self._capacity, np.float32)
        self._module.reward(
            self._device, self._environment, self._parameters, self._states, self._full(action), self._next_states,
            rewards, self._random,
        )  # fmt: skip
        return rewards[: self.count]

    def terminated(self) -> np.ndarray:
        """Returns whether each of the next states is terminal, [B]."""
        flags = np.zeros(self._capacity, bool)
        self._module.terminated(
            self._device, self._environment, self._parameters, self._next_states, flags, self._random
        )
        return flags[: self.count]

    def observe(self) -> np.ndarray:
        """Returns the part [B, 22] of the states' observations that raptor_jax's observation shares."""
        observation = np.zeros((self._capacity, self._environment.OBSERVATION_DIM), np.float32)
        self._module.observe(self._device, self._environment, self._parameters, self._states, observation, self._random)
        return observation[: self.count, :COMMON_OBSERVATION]

    def _parse(self, drone: Drone) -> Any:
        parameters = l2f.Parameters()
        l2f.parameters_from_json(self._device, self._environment.environments[0], to_json(drone, {}), parameters)
        return parameters

    def _full(self, action: np.ndarray) -> np.ndarray:
        padded = np.zeros((self._capacity, 4), np.float32)
        padded[: self.count] = action
        return padded

    def _check_layout(self) -> None:
        """Fills the first state with distinct numbers and compares them with those that the package reports."""
        saved = self._memory.copy()
        first = self._memory[0]
        first[:] = np.arange(len(first)) / 8
        first[_TRAJECTORY_TYPE] = _bits(True)
        shown = self._shown()
        pairs = [
            (shown[_SHOWN_AS.get(name, name)], first[at]) for name, at in _FIELDS.items() if name not in _NOT_SHOWN
        ]
        pairs.append((np.ravel(shown["action_history"]), first[_HISTORY]))
        langevin = shown["trajectory"]["langevin"]
        pairs += [(langevin[_SHOWN_AS.get(name, name)], first[at]) for name, at in _TARGET_FIELDS.items()]
        agrees = all(np.array_equal(printed, held) for printed, held in pairs)
        self._memory[:] = saved
        if not agrees:
            raise UserError(
                "--simulator l2f: this l2f has another memory layout than version 2.0.18; install l2f==2.0.18"
            )

    def _shown(self) -> dict[str, Any]:
        """Returns the first state as the package prints it."""
        interface = l2f.UI()
        interface.ns = ""
        environment, parameters = self._environment.environments[0], self._parameters.parameters[0]
        state = self._states.states[0]
        message = l2f.set_state_action_message(self._device, environment, parameters, interface, state, [0.0] * 4)
        return json.loads(message)["data"]["state"]


def _memory(states: Any) -> np.ndarray:
    """Returns the memory of a `VectorState` as float32, one row for each environment."""
    first, second = (state.position for state in states.states[:2])
    address, next_address = (view.__array_interface__["data"][0] for view in (first, second))
    shape = (len(states.states), _TARGET_FIELDS["raw_velocity"].stop)
    return np.lib.stride_tricks.as_strided(first, shape, (next_address - address, first.itemsize))


def _bits(flag: bool | np.ndarray) -> np.ndarray:
    """Returns the float32 with the bits of an int32 that is 0 or 1."""
    return np.asarray(flag, np.int32).view(np.float32)


def _write(memory: np.ndarray, state: State) -> None:
    for name, columns in _FIELDS.items():
        memory[..., columns] = getattr(state, name)
    memory[..., _STEP_COUNT : _STEP_COUNT + 2] = 0  # a 64-bit index into the ring of actions; its newest is the last
    memory[..., _HISTORY] = np.tile(state.observed_action, HISTORY_LENGTH)
    _write_target(memory, state.target)


def _write_target(memory: np.ndarray, target: Target) -> None:
    memory[..., _TRAJECTORY_TYPE] = _bits(np.asarray(target.moving))
    for name, columns in _TARGET_FIELDS.items():
        memory[..., columns] = getattr(target, name)


def _read(memory: np.ndarray) -> State:
    moving: Any = memory[:, _TRAJECTORY_TYPE].copy().view(np.int32).astype(bool)
    # NumPy's arrays where the simulator's states have JAX's.
    towards: dict[str, Any] = {name: memory[:, columns].copy() for name, columns in _TARGET_FIELDS.items()}
    newest = (memory[:, _STEP_COUNT].copy().view(np.int32) - 1) % HISTORY_LENGTH
    history = memory[:, _HISTORY].reshape(-1, HISTORY_LENGTH, 4)
    fields: dict[str, Any] = {name: memory[:, columns].copy() for name, columns in _FIELDS.items()}
    fields["observed_action"] = history[np.arange(len(memory)), newest]
    return State(**fields, target=Target(moving, **towards))
