"""Many teachers at once: `vmap` over teachers, `scan` over steps, everything that training changes in one pytree.

`sac` holds the jitted programs that the host calls, one a chunk; `model_free` is what they do at horizon 0 and
`expansion` at a horizon above. A teacher's random draws depend on the seed, its identity, the attempt and its own step
counts alone, so its run does not depend on who else is in the population. `best` keeps the best actors, `sharding` lays
teachers on devices, `memory` is what they need there, `warm_start` trains one teacher on many drones. No files here.
"""
