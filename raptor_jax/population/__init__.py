"""Many teachers at once: `vmap` over teachers, `scan` over steps, everything that training changes in one pytree.

`sac` contains the jitted programs that the host calls once per chunk; they use `model_free` at horizon 0 and
`expansion` at a horizon above 0. A teacher's random draws depend only on the seed, its identity, the attempt and its
own step counts, so its training does not depend on the other teachers. `best` keeps the best actors, `sharding`
distributes teachers over devices, `memory` estimates the memory there, `warm_start` trains one teacher on many drones.
No file access here.
"""
