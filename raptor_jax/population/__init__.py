"""Many teachers at once: `vmap` over teachers, `scan` over steps, everything that training changes in one pytree.

`sac` and `apg` hold a population of each algorithm. In both, a teacher's random draws depend on the seed, its identity,
the attempt and its own step counts alone, so its run does not depend on who else is in the population. `best` keeps
the best actors. No I/O here; the host calls one of the jitted programs per chunk.
"""
