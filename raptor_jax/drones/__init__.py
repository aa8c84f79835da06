"""What a drone is.

parameters.py                 a drone and its task as a pytree, with units, and what follows from it
quantities.py                 the scalars that tell one drone from another
files.py, schema.py, validation.py   L2F's JSON and YAML, key by key, and what every drone must satisfy
platforms/                    the drones that ship
sampling.py, distribution.py  drawing drones, and the check of what was drawn
tasks.py                      reward, reset and limits
"""
