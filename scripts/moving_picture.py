"""Draws drones of a run that recover at once, each flown by its own teacher, as an animated GIF.

    python scripts/moving_picture.py RUN --output docs/flights.gif

The flights are episodes of the final evaluation of the run, in the time of the simulator. No flight is chosen by hand:
the teachers passed and are evenly spread over the logarithm of the mass, unless --teachers names them; they are drawn
from the lightest to the heaviest; and the k-th one flies the episode with its k-th largest initial tilt, so that no two
start alike. All paths have the same scale. The drones are not to scale, except that heavier ones are drawn larger.
"""

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import matplotlib
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from PIL import Image, ImageDraw, ImageFont

from raptor_jax.commands import options as parsers
from raptor_jax.commands.devices import set_environment
from raptor_jax.commands.exit_status import PASSED, USAGE
from raptor_jax.errors import UserError
from raptor_jax.utils.files import require_writable, write_atomically, writing

if TYPE_CHECKING:
    from raptor_jax.runs.kept import KeptRun

DRONES, COLUMNS = 9, 3
FRAMES_PER_SECOND = 25
FIRST_SECONDS, LAST_SECONDS = 0.6, 1.2
"""How long the first and the last frame are shown."""
COLOURS = 128

WIDTH, CELL_HEIGHT, GAP, HEADING, FOOTER, FONT_SIZE = 800, 232, 8, 30, 30, 13
"""px."""
SMOOTHING = 3
"""Pixels are drawn so many times smaller in each direction, then averaged."""
AZIMUTH, ELEVATION = np.radians([-62.0, 22.0])
"""Of the camera, seen from the target."""
SMALLEST, LARGEST = 25.0, 40.0
"""px from the centre of a drone to its outermost rotor."""
RING_SIZE = 1.35
"""Radius of the ring around a target, of that of the drone."""
MOST_PIXELS = 300.0
"""For 1 m of a path."""
TRAIL_SECONDS = 1.0

Colour = tuple[int, int, int]
BACKGROUND, CELL, RING = (13, 17, 23), (23, 30, 41), (94, 110, 132)
TEXT, QUIET, BODY, BACK = (230, 236, 243), (139, 152, 170), (226, 232, 240), (148, 163, 184)
BY_MASS = LinearSegmentedColormap.from_list("mass", ["#4fd1e8", "#7ee0a1", "#ffd166", "#ff8a5c"])


class Recovery(NamedTuple):
    """The shown part of a flight: S frames."""

    position: np.ndarray
    """[S, 3] m from the target, world frame."""
    rotation: np.ndarray
    """[S, 3, 3] body to world."""
    throttle: np.ndarray
    """[S, 4] state of the rotors, 0 to 1 within their limits."""
    rotors: np.ndarray
    """[4, 3] m, body frame."""
    mass: float
    """kg."""
    thrust_to_weight: float
    pushed: bool
    """Whether an external force acts on the drone, as drawn for the episode."""


class Look(NamedTuple):
    """How one drone is drawn."""

    colour: Colour
    radius: float
    """px from its centre to its outermost rotor."""
    target: np.ndarray
    """[2] px, where the target is in the picture."""
    corner: np.ndarray
    """[2] px, the upper left corner of its cell."""


class Scene(NamedTuple):
    """What all drones share."""

    size: tuple[int, int]
    """px, of the picture."""
    cell: np.ndarray
    """[2] px, size of a cell."""
    pixels: float
    """px for 1 m of a path."""
    camera: np.ndarray
    """[3, 3] rows: to the right in the picture, down, and towards the viewer; unit vectors of the world frame."""
    looks: list[Look]


def main(arguments: Sequence[str] | None = None) -> int:
    """Draws the picture and returns an exit status of `raptor_jax.commands.exit_status`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="output directory of a run")
    parser.add_argument("--teachers", type=parsers.teachers, help=f"as in 3,17,40:50 (default: {DRONES} by mass)")
    parser.add_argument("--episodes", type=parsers.positive, help="chosen from so many first ones (default: all)")
    parser.add_argument("--seconds", type=float, default=3.0, help="shown of each flight (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("docs/flights.gif"), help="default: %(default)s")
    options = parser.parse_args(arguments)
    set_environment("cpu")
    try:
        if not 0 < options.seconds < np.inf:
            raise UserError(f"--seconds: {options.seconds} should be above 0 and finite")
        require_writable("--output", options.output)
        flights = fly(options.run, options.teachers, options.episodes, options.seconds)
        size = write(draw(flights), options.output)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    print(f"wrote {options.output} ({size / 1e6:.2f} MB), {len(flights)} drones")
    return PASSED


def fly(run: Path, teachers: Sequence[range] | None, episodes: int | None, seconds: float) -> list[Recovery]:
    """Flies teachers of a run, ordered by the mass of their drones; see the docstring of this file for the choice.

    Args:
        run: its output directory.
        teachers: ranges of `teacher_id`; None for `DRONES` that passed.
        episodes: how many first ones of the final evaluation to choose from; None for all.
        seconds: shown of each flight.

    Raises:
        UserError: there is no such run or teacher, or no teacher passed.
    """
    from raptor_jax.runs import kept as kept_actors

    kept = kept_actors.load_kept(run, {})
    masses = np.array([entry.mass for entry in kept.results.teachers])
    rows = _passed_rows(run, masses) if teachers is None else _rows(run, kept.ids, teachers)
    rows = sorted(rows, key=lambda row: masses[row])
    return [_recovery(kept, row, rank, episodes, seconds) for rank, row in enumerate(rows)]


def _rows(run: Path, ids: list[int], teachers: Sequence[range]) -> list[int]:
    """Returns the rows of the named teachers."""
    named = sorted({number for span in teachers for number in span})
    missing = [number for number in named if number not in ids]
    if missing:
        raise UserError(f"--teachers: {run} has no teacher {missing[0]}, but {min(ids)} to {max(ids)}; name some")
    return [ids.index(number) for number in named]


def _passed_rows(run: Path, masses: np.ndarray) -> list[int]:
    """Returns the rows of passed teachers whose masses are nearest to a geometric sequence."""
    from raptor_jax.runs import layout, results

    passed = [row for row, entry in enumerate(results.read(run / layout.RESULTS).teachers) if entry.passed]
    if not passed:
        raise UserError(f"{run}: no teacher passed; name some with --teachers")
    count = min(DRONES, len(passed))
    chosen: list[int] = []
    for mass in np.geomspace(masses[passed].min(), masses[passed].max(), count):
        free = [row for row in passed if row not in chosen]
        chosen.append(min(free, key=lambda row: abs(np.log(masses[row] / mass))))
    return chosen


def _recovery(kept: "KeptRun", row: int, rank: int, episodes: int | None, seconds: float) -> Recovery:
    """Returns the flight of one teacher that starts with the largest tilt but `rank`."""
    from raptor_jax.evaluation import FINAL, roll_out
    from raptor_jax.utils.trees import take

    actor, drone = take((kept.actors, kept.drones), row)
    episodes = episodes or kept.settings.training.final_eval_episodes
    flight, steps = roll_out(kept.settings, actor, drone, episodes, FINAL)
    orientation = np.asarray(steps.state.orientation)
    upright = 1 - 2 * (orientation[:, 0, 1] ** 2 + orientation[:, 0, 2] ** 2)
    episode = np.argsort(upright, kind="stable")[rank % episodes]

    times = np.arange(round(seconds * FRAMES_PER_SECOND) + 1) / FRAMES_PER_SECOND
    shown = np.round(times / kept.settings.environment.dt).astype(int)
    shown = np.minimum(shown, int(flight.episode.length[episode]) - 1)
    state, limit = steps.state, drone.dynamics.action_limit
    return Recovery(
        np.asarray(state.position - state.target.position)[episode, shown],
        _matrices(orientation[episode, shown]),
        np.asarray((state.rotor_state - limit.min) / (limit.max - limit.min))[episode, shown],
        np.asarray(drone.dynamics.rotor_positions),
        float(kept.results.teachers[row].mass),
        float(kept.results.teachers[row].thrust_to_weight),
        bool(np.any(np.asarray(state.force)[episode, 0])),
    )


def _matrices(orientation: np.ndarray) -> np.ndarray:
    """Returns the rotation matrices [S, 3, 3] of unit quaternions [S, 4]."""
    from raptor_jax.simulator.quaternion import Quat, rotation_matrix

    entries = rotation_matrix(Quat(*np.moveaxis(orientation, -1, 0)))
    return np.stack(entries, axis=-1).reshape(-1, 3, 3)


def draw(flights: Sequence[Recovery]) -> list[Image.Image]:
    """Returns the frames, in the same palette."""
    scene = compose(flights)
    backdrop = _backdrop(scene, flights)
    frames = [_frame(scene, flights, backdrop, number) for number in range(len(flights[0].position))]
    palette = _palette(frames)
    return [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]


def compose(flights: Sequence[Recovery]) -> Scene:
    """Places the cells and the targets, at the largest scale at which every drone stays in its cell."""
    columns = min(COLUMNS, len(flights))
    cell = np.array([(WIDTH - GAP) / columns - GAP, CELL_HEIGHT])
    masses = np.log([flight.mass for flight in flights])
    shares = (masses - masses.min()) / max(np.ptp(masses), 1e-9)
    radii = SMALLEST + shares * (LARGEST - SMALLEST)

    camera = _camera()
    room = cell - np.array([0, HEADING]) - 2 * RING_SIZE * radii[:, None]
    seen = [np.vstack([flight.position, np.zeros(3)]) @ camera[:2].T for flight in flights]
    spans = np.array([np.ptp(path, axis=0) for path in seen])
    pixels = float(np.min(room / np.maximum(spans, 1 / MOST_PIXELS)))

    looks = []
    for number, path in enumerate(seen):
        corner = GAP + np.array([number % columns, number // columns]) * (cell + GAP)
        middle = corner + (cell + np.array([0, HEADING])) / 2
        target = middle - pixels * (path.min(axis=0) + path.max(axis=0)) / 2
        looks.append(Look(_mixed(BY_MASS(shares[number])), float(radii[number]), target, corner))
    height = looks[-1].corner[1] + cell[1] + FOOTER
    return Scene((WIDTH, round(height)), cell, pixels, camera, looks)


def _camera() -> np.ndarray:
    """Returns the rows of `Scene.camera`."""
    right = np.array([-np.sin(AZIMUTH), np.cos(AZIMUTH), 0])
    viewer = np.array([*(np.cos(ELEVATION) * np.array([np.cos(AZIMUTH), np.sin(AZIMUTH)])), np.sin(ELEVATION)])
    return np.stack([right, -np.cross(viewer, right), viewer])


def _backdrop(scene: Scene, flights: Sequence[Recovery]) -> Image.Image:
    """Draws what does not move, magnified: cells, headings, targets and the scale."""
    picture = Image.new("RGB", (scene.size[0] * SMOOTHING, scene.size[1] * SMOOTHING), BACKGROUND)
    pen = ImageDraw.Draw(picture)
    for flight, look in zip(flights, scene.looks, strict=True):
        box = np.concatenate([look.corner, look.corner + scene.cell]) * SMOOTHING
        pen.rounded_rectangle(box.tolist(), 8 * SMOOTHING, CELL)
        _write(pen, look.corner + np.array([12, 9]), _readable_mass(flight.mass), look.colour, bold=True)
        ratio = f"thrust-to-weight {flight.thrust_to_weight:.1f}"
        _write(pen, look.corner + np.array([scene.cell[0] - 12, 9]), ratio, QUIET, anchor="ra")
        circle = _circle() * look.radius * RING_SIZE
        _line(pen, look.target + circle @ scene.camera[:2].T, RING, 1.4)
        dot = np.concatenate([look.target - 2, look.target + 2]) * SMOOTHING
        pen.ellipse(dot.tolist(), RING)
    left = np.array([GAP + 12, scene.size[1] - FOOTER / 2])
    right = left + np.array([scene.pixels / 2, 0])
    _line(pen, np.stack([left, right]), QUIET, 2)
    note = "; a random steady force pushes each" if all(flight.pushed for flight in flights) else ""
    _write(pen, right + np.array([8, 0]), f"0.5 m   (paths to scale, drones not{note})", QUIET, anchor="lm")
    return picture


def _frame(scene: Scene, flights: Sequence[Recovery], backdrop: Image.Image, number: int) -> Image.Image:
    """Draws one frame."""
    picture = backdrop.copy()
    pen = ImageDraw.Draw(picture, "RGBA")
    for flight, look in zip(flights, scene.looks, strict=True):
        path = look.target + scene.pixels * flight.position @ scene.camera[:2].T
        _trail(pen, path[: number + 1], look.colour)
        _drone(pen, flight, look, scene.camera, path[number], number)
    place = np.array([scene.size[0] - GAP - 12, scene.size[1] - FOOTER / 2])
    _write(pen, place, f"{number / FRAMES_PER_SECOND:.2f} s", TEXT, anchor="rm")
    return picture.reduce(SMOOTHING)


def _trail(pen: ImageDraw.ImageDraw, path: np.ndarray, colour: Colour) -> None:
    """Draws where a drone was, the fainter the longer ago."""
    age = np.arange(len(path))[::-1] / (TRAIL_SECONDS * FRAMES_PER_SECOND)
    for first, past in enumerate(age[1:]):
        if past < 1:
            _line(pen, path[first : first + 2], (*colour, round(150 * (1 - past))), 2)


def _drone(
    pen: ImageDraw.ImageDraw, flight: Recovery, look: Look, camera: np.ndarray, place: np.ndarray, number: int
) -> None:
    """Draws one drone: arms, body and rotor disks, from back to front; the front rotors have its colour."""
    view = camera @ flight.rotation[number].T * look.radius
    rotors = flight.rotors / np.linalg.norm(flight.rotors, axis=1).max()
    gaps = np.linalg.norm(rotors - np.roll(rotors, 1, axis=0), axis=1)
    disk = _circle() * 0.46 * gaps.min()
    above = np.array([0, 0, 0.12])
    # Seen from below, a rotor is darker.
    light = 1.0 if view[2, 2] > 0 else 0.6

    parts: list[tuple[float, str, np.ndarray, Colour, float]] = []
    for rotor, throttle in zip(rotors, flight.throttle[number], strict=True):
        colour = _mixed(look.colour if rotor[0] > 0 else BACK, light)
        parts.append((float(view[2] @ (rotor + above)), "disk", rotor + above + disk, colour, float(throttle)))
        arm = np.stack([np.zeros(3), rotor, rotor + above])
        parts.append((float(view[2] @ rotor) / 2, "arm", arm, BODY, 0.0))
    parts.append((0.0, "body", _circle() * 0.17, BODY, 0.0))

    for _, kind, points, colour, throttle in sorted(parts, key=lambda part: part[0]):
        outline = place + points @ view[:2].T
        if kind == "arm":
            _line(pen, outline, colour, look.radius / 12)
        else:
            alpha = 255 if kind == "body" else round(70 + 120 * np.clip(throttle, 0, 1))
            pen.polygon(list(map(tuple, outline * SMOOTHING)), (*colour, alpha))
            _line(pen, outline, colour, 1.3)


def _circle() -> np.ndarray:
    """Returns the points [N, 3] of a closed circle of radius 1, in the plane of x and y."""
    angle = np.linspace(0, 2 * np.pi, 49)
    return np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=-1)


def _line(pen: ImageDraw.ImageDraw, points: np.ndarray, colour: tuple[int, ...], width: float) -> None:
    """Draws a line through points [N, 2] in px of the picture."""
    pen.line(list(map(tuple, points * SMOOTHING)), colour, max(1, round(width * SMOOTHING)), joint="curve")


def _write(
    pen: ImageDraw.ImageDraw, place: np.ndarray, text: str, colour: Colour, anchor: str = "la", bold: bool = False
) -> None:
    """Writes text; `place` is in px of the picture, `anchor` as in Pillow."""
    pen.text(tuple(place * SMOOTHING), text, colour, _font(bold), anchor)


@functools.cache
def _font(bold: bool) -> ImageFont.FreeTypeFont:
    """Returns a font of matplotlib, so that the picture is the same on every machine."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", name)), FONT_SIZE * SMOOTHING)


def _readable_mass(mass: float) -> str:
    """Returns a mass in g, or in kg from 1 kg on."""
    return f"{mass:.1f} kg" if mass >= 0.9995 else f"{1000 * mass:.0f} g"


def _palette(frames: Sequence[Image.Image]) -> Image.Image:
    """Returns a picture whose palette suits all frames: colours count by how many they are, not by their area."""
    every = frames[:: max(1, len(frames) // 12)]
    pixels = np.concatenate([np.asarray(frame).reshape(-1, 3) for frame in every])
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    repeated = np.repeat(colours, np.ceil(counts**0.3).astype(int), axis=0)
    return Image.fromarray(repeated[None].astype(np.uint8)).quantize(COLOURS, Image.Quantize.MEDIANCUT, kmeans=2)


def write(frames: Sequence[Image.Image], path: Path) -> int:
    """Writes the frames as a GIF that repeats, and returns its size in bytes. Raises UserError if it cannot."""
    durations = [1000 // FRAMES_PER_SECOND] * len(frames)
    durations[0], durations[-1] = round(1000 * FIRST_SECONDS), round(1000 * LAST_SECONDS)
    first, *others = frames
    with writing(path, "name a file that can be written", "--output"):
        write_atomically(
            path,
            lambda file: first.save(
                file, "GIF", save_all=True, append_images=others, duration=durations, loop=0, optimize=True
            ),
        )
    return path.stat().st_size


def _mixed(colour: Sequence[float], light: float = 1.0) -> Colour:
    """Returns a colour in bytes, darkened to a share of its light; colours of matplotlib are from 0 to 1."""
    full = 1 if isinstance(colour[0], int) else 255
    red, green, blue = (round(full * light * float(part)) for part in colour[:3])
    return red, green, blue


if __name__ == "__main__":
    sys.exit(main())
