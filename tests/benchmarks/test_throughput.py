"""What the benchmarks compute in addition to their measurements."""

import json
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import limits, rltools, throughput_rows
from raptor_jax import config as configs
from raptor_jax.population import sac, sharding
from tests.benchmarks.processes import TINY, output, refusal

pytestmark = pytest.mark.slow


def test_flop_of_an_update_are_those_counted_by_hand():
    config = configs.load(rltools.CONFIG)
    # Multiplications for a transition. Actor 26-64-64-8: 6272, of which 4608 behind the first layer; critic
    # 30-256-256-1: 73 472, of which 65 792.
    target = 6272 + 2 * 73_472
    critics = 2 * (73_472 + 73_472 + 65_792)
    actor = 6272 + 6272 + 4608 + 2 * (73_472 + 73_472)
    assert rltools.update_gflop(config, targets=1) == pytest.approx(2e-9 * 128 * (target + critics + actor / 2))
    assert rltools.update_gflop(config, targets=2) == pytest.approx(2e-9 * 128 * (2 * target + critics + actor / 2))


def test_a_missing_package_is_reported_in_one_line_with_its_installation():
    with pytest.raises(SystemExit) as refused:
        rltools.located("no-such-package-at-all", "some.h")
    assert "\n" not in str(refused.value)
    assert "raptor-jax[benchmark]" in str(refused.value)


@pytest.fixture(scope="module")
def throughput(tmp_path_factory):
    """What is printed, and what is written."""
    directory = tmp_path_factory.mktemp("throughput")
    (directory / "tiny.yaml").write_text(TINY)
    command = ["-m", "benchmarks.throughput", "--configs", directory / "tiny.yaml", "--json", directory / "found.json"]
    # What is not optimised compiles in less than half the time, and how fast it runs is not tested.
    unoptimised = "--xla_backend_optimization_level=0"
    printed = output(*command, "--teachers", 1, 2, "--environments", 3, "--seconds", 0.01, XLA_FLAGS=unoptimised)
    return printed, json.loads((directory / "found.json").read_text())


def test_throughput_measures_simulator_and_training_for_each_number_of_teachers(throughput):
    _, found = throughput
    assert [(row["setting"], row["teachers"]) for row in found["rows"]] == [
        (setting, teachers) for setting in ("simulator, 3 environments each", "tiny") for teachers in (1, 2)
    ]
    for row in found["rows"]:
        assert len(row["seconds_per_call"]) == 3
        assert 0 < row["of_bandwidth"] < 1
        assert row["compile_seconds"] > 0
        assert row["processors_busy"] > 0
    for row in found["rows"][2:]:
        median = sorted(row["seconds_per_call"])[1]
        assert row["updates_per_second"] == pytest.approx(20 * row["teachers"] / median)
        assert row["steps_per_second"] == pytest.approx(2 * row["updates_per_second"])
        assert row["updates_of_a_run"] == 120
        assert row["transition_bytes"] == 64
        assert row["planned_bytes"]["replay"] == pytest.approx(200 * 64 * row["teachers"], abs=16)
        peak = found["limits"]["gemm_gflops"]["float32"]
        assert row["of_gemm_peak"] == pytest.approx(row["gflops"] / peak)


def test_throughput_names_the_machine_and_what_a_thousand_teachers_would_take(throughput):
    printed, found = throughput
    assert found["machine"]["devices"] >= 1
    assert found["versions"]["jax"] in printed
    minutes = 1e9 / found["rows"][-1]["updates_per_second"] / 60
    assert f"with 2: 1000 teachers x 1M updates in {minutes:,.0f} minutes" in printed


def test_a_wrong_setting_is_reported_in_one_line(tmp_path):
    (tmp_path / "wrong.yaml").write_text("sac: {tau: 2}")
    refusal("-m", "benchmarks.throughput", "--configs", tmp_path / "wrong.yaml")


def test_a_replay_is_filled_with_what_was_collected(tiny_config, drones):
    population = sac.create(tiny_config, drones, jnp.arange(3))
    collected = np.random.default_rng(0).normal(size=(3, 6000, 32)).astype(np.float16)
    rows = population.replay.rows.at[:, :6000].set(collected)
    inserted = population.replay.replace(rows=rows, filled=jnp.int32(6000), cursor=jnp.int32(6000))
    population = population.replace(replay=inserted)
    now = SimpleNamespace(plan=SimpleNamespace(warmup_steps=6000))
    replay = throughput_rows.with_full_replay(sharding.mesh(), now, population).replay
    assert replay.rows.shape[1] == 20_000
    assert (int(replay.filled), int(replay.cursor)) == (18_000, 18_000)
    np.testing.assert_array_equal(replay.rows[:, :18_000], np.tile(collected, (1, 3, 1)))


def test_a_turn_lasts_as_long_as_asked_for_and_counts_every_call(monkeypatch):
    clock = iter([0.0, 0.4, 0.8, 1.2])
    monkeypatch.setattr(limits.time, "perf_counter", lambda: next(clock))
    assert limits.seconds_per_call(lambda: None, 1.0) == pytest.approx(0.4)
