"""The drones: physics, task, files and sampling.

fields.py                     a field of the tree: shape, unit, range, and its form in a file
parameters.py                 a drone and its task as a pytree, with units, and the quantities computed from them
quantities.py                 the scalars that characterise a drone
files.py                      reads and writes files: parse (schema.py), complete (completion.py), check (validation.py)
platforms/                    the drones that ship with the package
sampling.py, distribution.py  samples random drones, and tests a sample
tasks.py                      the two built-in tasks: reward, initial states and limits

How `files.load_drone` reads a file:

    JSON or YAML -- utils.files --> object -- schema.parse_drone --> fields, some None
        -- completion.complete --> Drone -- validation.check_drone --> DroneFile
"""
