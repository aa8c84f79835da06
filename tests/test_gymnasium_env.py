"""The Gymnasium environments: Gymnasium's own checks, and comparison with the simulator."""

import subprocess
import sys
from pathlib import Path

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.utils import seeding
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from raptor_jax import gymnasium_env, sample_drones
from raptor_jax.config import Config
from raptor_jax.drones.files import DroneFile
from raptor_jax.drones.parameters import Drone
from raptor_jax.errors import UserError
from raptor_jax.gymnasium_env import QuadrotorEnv, QuadrotorVectorEnv
from raptor_jax.simulator import draw_noise, episode
from raptor_jax.simulator.step import STATE_LIMIT
from validation.drones import on_device, replaced, sampled_drones

SHORT = Config.model_validate({"environment": {"episode_steps": 5}})
DRONES = sampled_drones(2, "raptor")


def file_of(drone: Drone, name: str = "0000") -> DroneFile:
    return DroneFile(name, Path(f"{name}.json"), drone, {})


def started(drone: Drone = DRONES[0], config: Config | None = None) -> QuadrotorEnv:
    """Returns an environment after a reset with seed 0."""
    environment = QuadrotorEnv(file_of(drone), config)
    environment.reset(seed=0)
    return environment


def confined(drone: Drone) -> Drone:
    """Returns the drone with limits that some of its steps leave."""
    return replaced(drone, mdp__termination__linear_velocity_threshold=0.8)


def actions(steps: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (steps, *shape, 4)).astype(np.float32)


def test_it_passes_gymnasiums_checker():
    # Every warning of the checker is an error here.
    check_env(gymnasium.make(gymnasium_env.ID, drone=file_of(DRONES[0])).unwrapped)


def require_shown(observation: np.ndarray, info: dict, now: episode.Episode) -> None:
    """Compares what is returned with an episode of the simulator."""
    names = ("position", "orientation", "linear_velocity", "angular_velocity", "rotor_state", "force")
    shown = [observation, info["target_position"], *(info[name] for name in names)]
    flown = [now.observation, now.state.target.position, *(getattr(now.state, name) for name in names)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), shown, flown)


def test_every_step_is_the_simulators():
    environment, drone = QuadrotorEnv(file_of(DRONES[0])), on_device(DRONES[0])
    key, start_key = jax.random.split(jax.random.key(seeding.np_random(3)[0].integers(2**32, dtype=np.uint32)))
    now = episode.start(drone, start_key)
    require_shown(*environment.reset(seed=3), now)
    advance = jax.jit(episode.advance, static_argnums=3)
    for action in actions(40):
        key, step_key = jax.random.split(key)
        outcome = advance(drone, now, action, 500, draw_noise(drone, step_key))
        now = outcome.episode
        observation, reward, terminated, truncated, info = environment.step(action)
        require_shown(observation, info, now)
        np.testing.assert_allclose(reward, outcome.reward, rtol=1e-6)
        assert (terminated, truncated) == (outcome.terminated, outcome.finished & ~outcome.terminated)


def test_the_observation_follows_from_the_info():
    environment = started(replaced(DRONES[0], trajectory__mixture=[0.0, 1.0]))
    for action in actions(5):
        observation, *_, info = environment.step(action)
    assert np.linalg.norm(info["target_position"]) > 0
    np.testing.assert_allclose(observation[:3], info["position"] - info["target_position"], atol=1e-6)
    np.testing.assert_allclose(observation[12:15], info["linear_velocity"] - info["target_velocity"], atol=1e-6)


def test_limits_terminate_and_length_truncates():
    endless = started(replaced(DRONES[0], mdp__termination__enabled=False), SHORT)
    ends = [endless.step(action)[2:4] for action in actions(5)]
    assert ends == [(False, False)] * 4 + [(False, True)]

    crashing = replaced(DRONES[0], mdp__init__guidance=0.0, mdp__termination__position_threshold=1e-6)
    _, reward, *ends, _ = started(crashing, SHORT).step(actions(1)[0])
    assert ends == [True, False]
    assert reward == float(crashing.mdp.reward.termination_penalty)


def test_without_a_seed_the_random_sequence_continues():
    environment = QuadrotorEnv(file_of(DRONES[0]))
    starts = [environment.reset(seed=0)[0], *(environment.reset()[0] for _ in range(2))]
    again = [environment.reset(seed=0)[0], *(environment.reset()[0] for _ in range(2))]
    np.testing.assert_array_equal(starts, again)
    assert len(np.unique(starts, axis=0)) == 3
    unseeded = [QuadrotorEnv(file_of(DRONES[0])).reset()[0] for _ in range(2)]
    assert not np.array_equal(*unseeded)


def test_returned_arrays_belong_to_the_caller():
    environment = QuadrotorEnv(file_of(DRONES[0]))
    observation, info = environment.reset(seed=0)
    before = environment.step(np.zeros(4))[0]
    observation[:] = info["position"][:] = 7.0
    environment.reset(seed=0)
    np.testing.assert_array_equal(environment.step(np.zeros(4))[0], before)


def test_a_vector_environment_equals_single_environments():
    drones = [file_of(confined(drone)) for drone in DRONES]
    together = QuadrotorVectorEnv(drones, 6, SHORT)
    apart = gymnasium.vector.SyncVectorEnv([lambda i=i: QuadrotorEnv(drones[i % 2], SHORT) for i in range(6)])
    assert together.metadata["autoreset_mode"] is apart.metadata["autoreset_mode"]
    for space in ("single_observation_space", "observation_space", "single_action_space", "action_space"):
        assert getattr(together, space) == getattr(apart, space)
    require_equal(together.reset(seed=5), apart.reset(seed=5))
    ended = np.zeros((2, 6), int)
    for action in actions(30, 6):
        step = together.step(action)
        require_equal(step, apart.step(action))
        assert step[0] in together.observation_space
        ended += step[2:4]
    # Both ends came, in the middle of what was compared, and each was followed by a reset.
    assert ended.sum(axis=1).min() > 0
    require_equal(together.reset(), apart.reset())
    require_equal(together.reset(seed=5), apart.reset(seed=5))


def require_equal(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, expected)


def test_gymnasium_makes_and_wraps_it():
    name = f"raptor_jax.gymnasium_env:{gymnasium_env.ID}"
    made = gymnasium.make_vec(name, num_envs=4, drones=[file_of(DRONES[0])], config=SHORT)
    environments = RecordEpisodeStatistics(made)
    environments.reset(seed=0)
    total = np.zeros(4)
    for action in actions(5, 4):
        *_, rewards, _, truncated, infos = environments.step(action)
        total += rewards
    assert truncated.all()
    np.testing.assert_allclose(infos["episode"]["r"], total, rtol=1e-6)
    np.testing.assert_array_equal(infos["episode"]["l"], 5)


def test_drones_may_be_given_as_files(tmp_path):
    (written,) = sample_drones(1, directory=tmp_path)
    by_path, by_drone = QuadrotorEnv(str(written.path)), QuadrotorEnv(written)
    np.testing.assert_array_equal(by_path.reset(seed=0)[0], by_drone.reset(seed=0)[0])


def test_the_settings_choose_the_task():
    raptor = Config.model_validate({"environment": {"task": "raptor"}})
    chosen, own = started(sampled_drones(1)[0], raptor), started(sampled_drones(1, "raptor")[0])
    assert chosen.step(np.zeros(4))[1] == own.step(np.zeros(4))[1]


def test_refusals():
    environment = QuadrotorEnv(file_of(DRONES[0]))
    with pytest.raises(gymnasium.error.ResetNeeded):
        environment.step(np.zeros(4))
    with pytest.raises(UserError, match="options: low: reset has no such option"):
        environment.reset(options={"low": 0})
    environment.reset(seed=0)
    with pytest.raises(AssertionError, match="shape"):
        environment.step(np.zeros(1))
    with pytest.raises(UserError, match="num_envs: 1 is below the number of drones, 2"):
        QuadrotorVectorEnv([file_of(drone) for drone in DRONES], 1)
    with pytest.raises(UserError, match=r"nowhere\.json: no such file"):
        QuadrotorEnv("nowhere.json")


def test_without_the_package_the_error_names_the_extra():
    program = "import sys; sys.modules['gymnasium'] = None; import raptor_jax.gymnasium_env"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "install raptor-jax[gymnasium]" in finished.stderr.splitlines()[-1]


def test_the_bounds_hold_where_the_simulator_clamps():
    environment = started(replaced(DRONES[0], mdp__init__max_linear_velocity=1e30, mdp__init__guidance=0.0))
    observation = environment.step(np.ones(4))[0]
    assert np.abs(observation[12:15]).max() == STATE_LIMIT
    assert observation in environment.observation_space
