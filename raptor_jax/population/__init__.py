"""Many teachers at once: `vmap` over teachers, `scan` over steps; no file access.

A teacher's random draws depend only on the seed, its identity, the attempt and its own step counts, so its training
does not depend on the other teachers.

state.py         everything that training changes, as one pytree
sac.py           the programs of a training, at any horizon
model_free.py    training at horizon 0
expansion.py     training at a horizon above 0
schedule.py      how a run is divided into calls of these programs
per_teacher.py   random keys, and the rollback of teachers whose numbers became non-finite
best.py          the best evaluated actor of each teacher
warm_start.py    one teacher on many drones
sharding.py      the teachers on all devices
blocks.py        programs that the host calls for one block of teachers after another
memory.py        the memory of a run, estimated before it
"""
