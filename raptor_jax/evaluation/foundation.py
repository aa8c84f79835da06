"""RAPTOR's published foundation policy, one policy for all drones: a baseline for the teachers.

Eschmann et al., "RAPTOR: A Foundation Policy for Quadrotor Control"; the package foundation-policy, an extra.
"""

import numpy as np

from raptor_jax.errors import UserError
from raptor_jax.evaluation.flights import Policy
from raptor_jax.simulator import WITHOUT_ROTORS


class FoundationPolicy:
    """The published policy, with a memory for each episode of a batch (see `evaluation.Policy`)."""

    def __init__(self) -> None:
        """Loads the published weights.

        Raises:
            UserError: the package is not installed.
        """
        try:
            from foundation_policy import Raptor
        except ImportError:
            raise UserError("--policy foundation: needs a package; install raptor-jax[foundation]") from None
        self._policy: Policy = Raptor()

    def reset(self) -> None:
        """Clears the memory."""
        self._policy.reset()

    def evaluate_step(self, observation: np.ndarray) -> np.ndarray:
        """Returns the actions [B, 4] at observations [B, 26]; as published, not clipped to [-1, 1]."""
        return self._policy.evaluate_step(observation[:, :WITHOUT_ROTORS])
