import io

import numpy as np
import pytest
from rich.console import Console

from raptor_jax.config import SamplingConfig, load
from raptor_jax.drones import distribution
from raptor_jax.drones.files import DroneFile, load_directory
from raptor_jax.drones.sampling import sample_drone, write_drones
from tests.drones.test_files import error_of
from validation.drones import REFERENCE

RAPTOR = load("configs/raptor.yaml").sampling


def draw(config, num):
    return [DroneFile(str(i), None, *sample_drone(config, i)) for i in range(num)]


def verdicts(checked):
    return {quantity.name: quantity.verdict for quantity in checked.quantities}


@pytest.fixture(scope="module")
def files():
    return draw(SamplingConfig(), 300)


def test_sampled_drones_follow_their_laws(files):
    checked = distribution.check(files, SamplingConfig())
    assert checked.ok, verdicts(checked)
    assert checked.worst_metadata_error < 1e-12
    assert distribution.check(draw(RAPTOR, 300), RAPTOR).ok


@pytest.mark.reference
def test_rltools_drones_follow_raptors_laws():
    """The laws are read from L2F's source; these drones were drawn by its binary."""
    checked = distribution.check(load_directory(REFERENCE / "dynamics"), RAPTOR)
    assert checked.ok, verdicts(checked)
    assert checked.worst_metadata_error is None


@pytest.mark.parametrize(
    ("wrong", "quantities"),
    [
        ({"thrust_to_weight_max": 6}, {"thrust-to-weight"}),
        ({"torque_to_inertia_min": 300}, {"torque-to-inertia"}),
        ({"mass_max": 8}, {"mass", "size"}),
        ({"mass_size_deviation_law": "l2f"}, {"arm size deviation"}),
        ({"rotor_torque_constant_max": 0.02}, {"rotor torque constant"}),
        ({"disturbance_force_max": 0.6}, {"disturbance share"}),
        ({"rotor_time_constant_rising_max": 0.1}, {"rising time constant"}),
        ({"rotor_time_constant_falling_min": 0.03}, {"falling time constant"}),
    ],
)
def test_drones_of_another_distribution_are_detected(files, wrong, quantities):
    checked = distribution.check(files, SamplingConfig(**wrong))
    failing = {name for name, verdict in verdicts(checked).items() if verdict not in ("ok", "-")}
    assert failing == quantities


def test_a_wrong_law_in_the_right_range_is_detected(files):
    """Uniform in mass instead of in size: every value is in range, and only the test can tell."""
    quantity = next(q for q in distribution.check(files, SamplingConfig()).quantities if q.name == "mass")
    uniform_mass = np.random.default_rng(0).uniform(0.02, 5, len(files))
    assert quantity._replace(values=uniform_mass).verdict == "differs"
    assert quantity._replace(values=quantity.values + 5).verdict == "outside"


def test_wrong_metadata_are_detected(files):
    lying = files[0]._replace(metadata={**files[0].metadata, "thrust_to_weight": 1.0})
    checked = distribution.check([lying, *files[1:]], SamplingConfig())
    assert not checked.ok
    assert checked.worst_metadata_error > 0.1


@pytest.mark.parametrize("num", [1, 4])
@pytest.mark.parametrize("width", [80, 140])
def test_a_report_is_written_into_the_directory_of_drones(tmp_path, num, width):
    config = SamplingConfig()
    write_drones(tmp_path, config, num)
    console = Console(width=width, file=io.StringIO())
    checked = distribution.report(tmp_path, config, console)
    assert (checked.num, checked.ok) == (num, True)
    for table in (console.file.getvalue(), (tmp_path / distribution.TEXT_FILE).read_text()):
        assert "thrust-to-weight" in table
        assert "…" not in table
    assert (tmp_path / distribution.FIGURE_FILE).read_bytes().startswith(b"\x89PNG")
    assert len(load_directory(tmp_path)) == num


def test_an_unwritable_report_is_a_user_error(tmp_path):
    write_drones(tmp_path, SamplingConfig(), 1)
    (tmp_path / distribution.TEXT_FILE).mkdir()
    console = Console(file=io.StringIO())
    assert "cannot be written" in error_of(distribution.report, tmp_path, SamplingConfig(), console)


def test_a_constant_is_checked_by_value(tmp_path):
    fixed = {"thrust_to_weight_min": 2, "thrust_to_weight_max": 2, "mass_size_deviation": 0, "disturbance_force_max": 0}
    config = SamplingConfig(**fixed)
    checked = distribution.check(draw(config, 5), config)
    assert checked.ok
    assert next(q for q in checked.quantities if q.name == "thrust-to-weight").p_value is None
    distribution.plot(checked).savefig(tmp_path / "figure.png")
    other = config.model_copy(update={"thrust_to_weight_min": 3, "thrust_to_weight_max": 3})
    assert verdicts(distribution.check(draw(config, 5), other))["thrust-to-weight"] == "outside"
