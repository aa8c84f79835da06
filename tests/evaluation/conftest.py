import pytest

from raptor_jax.config import Config
from tests.evaluation.known import STEPS


@pytest.fixture(scope="session")
def config(tiny_config) -> Config:
    """With episodes of STEPS."""
    environment = tiny_config.environment.model_copy(update={"episode_steps": STEPS})
    return tiny_config.model_copy(update={"environment": environment})
