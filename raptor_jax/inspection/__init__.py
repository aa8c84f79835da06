"""The content of runs, checkpoints, policies and drones (the command `inspect`): as JSON, and as text."""
