from raptor_jax.runs import stored_config


def test_rescue_rounds_became_extra_rounds():
    stored = {"training": {"rescue_rounds": 1, "seed": 3}, "sac": {"horizon": 0}}
    assert stored_config.translate(stored) == {"training": {"extra_rounds": 1, "seed": 3}, "sac": {"horizon": 0}}
