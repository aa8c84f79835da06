"""Made-up flights, for the tests of the report."""

import numpy as np

from raptor_jax.report.flights import Recording


def made_up(teachers: int, steps: int, *, moving: bool) -> Recording:
    """Returns spirals towards the origin with a yaw that turns; teacher i crashes after (i + 1) steps if i is odd."""
    time = np.linspace(0, 1, steps)[None, :]
    phase = np.arange(teachers)[:, None] + 6 * time
    fading = np.broadcast_to(1 - time, phase.shape)
    position = np.stack([fading * np.cos(phase), fading * np.sin(phase), -0.5 * fading], axis=-1)
    zero = np.zeros_like(phase)
    crashed = np.arange(teachers) % 2 == 1
    return Recording(
        position=position,
        orientation=np.stack([np.cos(phase / 2), zero, zero, np.sin(phase / 2)], axis=-1),
        target_position=0.3 * position[..., ::-1] if moving else 0 * position,
        action=np.stack([np.sin(phase * k) for k in range(1, 5)], axis=-1),
        length=np.where(crashed, np.minimum(np.arange(teachers) + 1, steps), steps),
        total_reward=np.linspace(-50, 450, teachers),
        terminated=crashed,
    )
