"""Configuration files and overrides: what is accepted, and how the rest is refused."""

import re

import pytest
import yaml

from raptor_jax import config
from raptor_jax.errors import UserError


def test_the_shipped_default_equals_the_code_default():
    assert config.load(config.DEFAULT_CONFIG) == config.Config()


@pytest.mark.parametrize("name", ["pre_training", "quickstart", "raptor", "raptor_reference", "model_free", "start"])
def test_shipped_configurations_survive_a_round_trip(name, tmp_path):
    loaded = config.load(f"configs/{name}.yaml")
    copy = tmp_path / "copy.yaml"
    copy.write_text(config.dump(loaded))
    assert config.load(copy) == loaded


def test_the_reference_names_every_constant():
    written = yaml.safe_load(config.find("configs/raptor_reference.yaml").read_text())
    of_windows = {"td_lambda", "gradient_clip", "state_gradient_limit", "survival_width", "termination_penalty"}
    assert set(written["sac"]) == set(config.SacConfig.model_fields) - of_windows


def test_overrides_win_over_the_file_and_may_be_text(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("sac:\n  gamma: 0.9\n  tau: 1e-2\n")
    loaded = config.load(path, {"sac.gamma": "0.5", "training.seed": "7", "environment.l2f_initial_angle": "true"})
    assert (loaded.sac.gamma, loaded.sac.tau, loaded.training.seed) == (0.5, 0.01, 7)
    assert loaded.environment.l2f_initial_angle


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sac:\n  learnin_rate: 1", "sac.learnin_rate: unknown key; did you mean sac.alpha_learning_rate?"),
        ("sca:\n  tau: 1", "sca: unknown key; did you mean sac?"),
        ("training:\n  critic_batch_sizes: 1", "did you mean sac.critic_batch_size?"),
        ("sac:\n  tau: fast", "sac.tau: 'fast' should be a valid number"),
        ("sac:\n  tau: 1.5", "sac.tau: 1.5 should be less than or equal to 1"),
        ("sac:\n  tau: .nan", "sac.tau: nan should be a finite number"),
        ("sac:\n  tau: true", "sac.tau: True should be a number"),
        ("sac:\n  critic_batch_size: 1.5", "sac.critic_batch_size: 1.5 should be a valid integer"),
        ("sac:\n  {horizon: 0, actor_batch_size: 512}", "actor_batch_size 512 is above critic_batch_size 256"),
        ("sac:\n  log_std_min: 3", "log_std_min 3.0 is not below log_std_max 2.0"),
        ("sac:\n  {horizon: 0, termination_penalty: -1.0e5}", "termination_penalty -100000 exceeds 65504"),
        ("environment:\n  task: true", "environment.task: True should be 'file', 'default' or 'raptor'"),
        ("environment:\n  task: fly", "environment.task: 'fly' should be 'file', 'default' or 'raptor'"),
        ("environment:\n  dt: -1", "environment.dt: -1 should be greater than 0"),
        ("sampling:\n  mass_min: 9", "mass_min 9.0 is above mass_max 5.0"),
        ("apg:\n  horizon: 100", "apg: no longer a setting; use sac.*, and environment.environments_per_teacher"),
        ("training:\n  algorithm: sac", "training.algorithm: no longer a setting; use sac.horizon"),
        ("sac:\n  learning_rate: 1e-3", "sac.learning_rate: no longer a setting; use sac.actor_learning_rate and"),
        ("- a\n- b", "should hold sections"),
        ("sac: 3", "should hold sections"),
        ("a: [", "not readable as YAML"),
        ("!!python/object/apply:os.getcwd []", "not readable as YAML"),
    ],
)
def test_an_invalid_file_is_named_in_one_line(tmp_path, text, expected):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"^.*{path}.*{re.escape(expected)}.*\Z"):
        config.load(path)


def test_an_override_without_a_section_is_refused():
    with pytest.raises(UserError, match=r"^sac: should be SECTION.KEY"):
        config.load(config.DEFAULT_CONFIG, {"sac": {"horizon": 0}})


def test_the_error_of_a_missing_file_lists_shipped_ones(tmp_path):
    with pytest.raises(UserError, match=r"no such configuration file.*raptor_reference.yaml"):
        config.load(tmp_path / "none.yaml")


def test_a_configuration_is_hashable_by_value():
    first, second = (config.build({}, {"sac.gamma": "0.5"}, "test") for _ in range(2))
    assert hash(first) == hash(second)
    assert first == second != config.Config()
