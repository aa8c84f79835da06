"""Trains a population of teachers: the command `raptor-jax train` as a script."""

import sys

from raptor_jax.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
