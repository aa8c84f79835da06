"""What the benchmarks compute beside their measurements."""

import pytest

from benchmarks import rltools
from raptor_jax import config as configs


def test_flop_of_an_update_are_those_counted_by_hand():
    config = configs.load(rltools.CONFIG)
    # Multiplications for a transition. Actor 26-64-64-8: 6272, of which 4608 behind the first layer; critic
    # 30-256-256-1: 73 472, of which 65 792.
    target = 6272 + 2 * 73_472
    critics = 2 * (73_472 + 73_472 + 65_792)
    actor = 6272 + 6272 + 4608 + 2 * (73_472 + 73_472)
    assert rltools.update_gflop(config, targets=1) == pytest.approx(2e-9 * 128 * (target + critics + actor / 2))
    assert rltools.update_gflop(config, targets=2) == pytest.approx(2e-9 * 128 * (2 * target + critics + actor / 2))


def test_a_missing_package_is_told_in_one_line_with_the_way_out():
    with pytest.raises(SystemExit) as told:
        rltools.located("no-such-package-at-all", "some.h")
    assert "\n" not in str(told.value)
    assert "raptor-jax[benchmark]" in str(told.value)
