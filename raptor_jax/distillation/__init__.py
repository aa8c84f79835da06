"""The host loop of a distillation: the student learns chunk by chunk, and is evaluated, logged and saved in between.

teachers.py     the teachers of a run that passed, from whom the student learns
programs.py     the compiled programs, on all devices
state.py        what changes from chunk to chunk
output.py       what it writes: the student, its results, TensorBoard and checkpoints
loop.py         the loop

No maths here: that is `student`.
"""

from raptor_jax.distillation.loop import Ending, Job, distill

__all__ = ["Ending", "Job", "distill"]
