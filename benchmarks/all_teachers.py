"""The size of `raptor-jax export RUN --format npz-all`, and how much its rounding changes actions and returns.

    python -m benchmarks.all_teachers RUN FILE [--episodes 20]

FILE is the `teachers.npz` of this run. Actions are compared at every observation of the first episode of the final
evaluation, flown with the float32 weights; returns in the first episodes of it, flown with either.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from raptor_jax import evaluation, sac
from raptor_jax.runs import checkpoints
from raptor_jax.runs.kept import load_kept
from raptor_jax.simulator import ACTION_DIM


def main() -> None:
    """Prints the size and the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="output directory of a run")
    parser.add_argument("file", type=Path, metavar="FILE", help="the teachers.npz that was exported from it")
    parser.add_argument("--episodes", type=int, default=20, help="of each teacher, for its return (default: 20)")
    options = parser.parse_args()
    kept = load_kept(options.run, {})
    rounded = with_weights_of(options.file, kept.actors)
    print(f"{options.file.stat().st_size / 1e6:.1f} MB for {len(kept.ids)} teachers")

    flight, steps = evaluation.roll_out_first(kept.settings, kept.actors, kept.drones, 1, evaluation.FINAL)
    act = jax.jit(jax.vmap(lambda actor, observation: sac.deterministic_action(kept.settings.sac, actor, observation)))
    flown = np.arange(steps.observation.shape[1]) < np.asarray(flight.episode.length)[:, None]
    difference = np.abs(np.asarray(act(rounded, steps.observation) - act(kept.actors, steps.observation)))[flown]
    print(f"action, {len(difference):,} steps: median {np.median(difference):.2g}, at most {difference.max():.2g}")

    returns = [
        np.asarray(
            evaluation.evaluate(kept.settings, actors, kept.drones, options.episodes, evaluation.FINAL).mean_return
        )
        for actors in (kept.actors, rounded)
    ]
    changed = np.abs(returns[1] - returns[0])
    print(
        f"mean return of {options.episodes} episodes: median {np.median(changed):.2g}, at most {changed.max():.2g}"
        f" (teacher {kept.ids[int(changed.argmax())]})"
    )


def with_weights_of(file: Path, actors: sac.Parameters) -> sac.Parameters:
    """Returns the actors [T, ...] with the weights of the mean action from the file."""
    changed = jax.tree.map(jnp.asarray, actors)
    layers = checkpoints.layers(changed)
    with np.load(file) as arrays:
        for layer, kinds in layers.items():
            for kind, weights in kinds.items():
                own = arrays[f"{layer}/{kind}"].astype(np.float32)
                kinds[kind] = weights.at[..., :ACTION_DIM].set(own) if layer == "output" else jnp.asarray(own)
    return changed


if __name__ == "__main__":
    main()
