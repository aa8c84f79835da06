"""The content of runs, checkpoints and files (the command `inspect`): as JSON, as a drone's sheet, and as text."""
