"""The constants of the exported run."""

from raptor_jax import config

STEP = 1000
NAMES = ("0.json", '1 "quoted" \\ ?? ü.json', "2.json")
"""Of the drones; the second is a trap for C and for JSON."""
CRASHING = 2
"""The teacher whose drone's limits are so narrow that some of its episodes terminate."""
SETTINGS = config.build(
    {"environment": {"episode_steps": 40}, "training": {"final_eval_episodes": 8, "pass_return": 0}}, {}, "test"
)
