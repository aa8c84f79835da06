"""The host loop of a distillation: the student learns chunk by chunk, and is evaluated, logged and saved in between.

teachers.py     the teachers of a run that passed, from which the student learns
programs.py     the compiled programs, on all devices
state.py        what changes from chunk to chunk
output.py       the files: the student, its results, TensorBoard's files and checkpoints
loop.py         the loop

The numerics are in `student`.
"""

from raptor_jax.distillation.loop import Ending, Job, distill, job_of

__all__ = ["Ending", "Job", "distill", "job_of"]
