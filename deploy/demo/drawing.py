"""The pictures of the demo model: what a scene is, and how it is drawn.

Not for words (captions.py) nor for recognising what a picture shows (judge.py).
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from PIL import Image, ImageDraw

Rgb = tuple[int, int, int]
Point = tuple[float, float]
Size = Literal["small", "medium", "large"]
Style = Literal["floor", "frame"]

COLOURS: dict[str, Rgb] = {
    "red": (220, 30, 30),
    "green": (30, 160, 50),
    "blue": (30, 70, 220),
    "yellow": (250, 220, 40),
    "orange": (250, 140, 20),
    "purple": (130, 40, 170),
    "pink": (250, 150, 190),
    "cyan": (40, 210, 220),
    "white": (250, 250, 250),
    "black": (15, 15, 15),
    "gray": (128, 128, 128),
    "brown": (120, 70, 30),
}

PLACES: dict[str, tuple[int, int]] = {
    "centre": (0, 0),
    "left": (-1, 0),
    "right": (1, 0),
    "top": (0, -1),
    "bottom": (0, 1),
    "top left": (-1, -1),
    "top right": (1, -1),
    "bottom left": (-1, 1),
    "bottom right": (1, 1),
}
"""Each place and the direction in which it lies from the centre."""

RADII: dict[Size, tuple[float, float]] = {
    "small": (0.13, 0.17),
    "medium": (0.21, 0.28),
    "large": (0.33, 0.38),
}
"""Half the larger side of an object's bounding box, as a share of the picture's side."""

RADII_OF_SEVERAL = {2: (0.15, 0.19), 3: (0.13, 0.16)}
COUNTS = (1, 2, 3)

UNSEEN_PAIRS = frozenset(
    {
        ("purple", "circle"),
        ("pink", "square"),
        ("cyan", "triangle"),
        ("brown", "star"),
        ("orange", "heart"),
        ("yellow", "diamond"),
        ("white", "cross"),
        ("green", "ring"),
    }
)
"""Colour and shape of objects that training never shows nor names: they measure what the model composes."""


def _regular(corners: int, *, inner: float | None = None) -> list[Point]:
    """Corners on a circle, the first at the top; with `inner`, a notch between each two (a star)."""
    radii = (1.0,) if inner is None else (1.0, inner)
    turns = corners * len(radii)
    angles = [2 * math.pi * i / turns - math.pi / 2 for i in range(turns)]
    return [
        (radii[i % len(radii)] * math.cos(a), radii[i % len(radii)] * math.sin(a))
        for i, a in enumerate(angles)
    ]


def _heart() -> list[Point]:
    angles = [2 * math.pi * i / 90 for i in range(90)]
    return [
        (
            16 * math.sin(a) ** 3,
            -13 * math.cos(a) + 5 * math.cos(2 * a) + 2 * math.cos(3 * a) + math.cos(4 * a),
        )
        for a in angles
    ]


def _cross(*, arm: float = 0.36) -> list[Point]:
    a = arm
    return [
        (-a, -1),
        (a, -1),
        (a, -a),
        (1, -a),
        (1, a),
        (a, a),
        (a, 1),
        (-a, 1),
        (-a, a),
        (-1, a),
        (-1, -a),
        (-a, -a),
    ]


def _fitted(points: Sequence[Point]) -> list[Point]:
    """Moved and scaled so that the bounding box is centred on zero and its larger half-side is 1."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    middle = ((min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2)
    half = max(max(xs) - min(xs), max(ys) - min(ys)) / 2
    return [((x - middle[0]) / half, (y - middle[1]) / half) for x, y in points]


OUTLINES: dict[str, list[Point]] = {
    "circle": _fitted(_regular(120)),
    "square": _fitted([(-1, -1), (1, -1), (1, 1), (-1, 1)]),
    "triangle": _fitted([(0, -0.9), (1, 0.9), (-1, 0.9)]),
    "star": _fitted(_regular(5, inner=0.45)),
    "heart": _fitted(_heart()),
    "diamond": _fitted([(0, -1), (0.72, 0), (0, 1), (-0.72, 0)]),
    "cross": _fitted(_cross()),
    "ring": _fitted(_regular(120)),
}
SHAPES = tuple(OUTLINES)
RING_HOLE = 0.5
"""The hole's radius as a share of the ring's."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What a picture shows, in the words that a caption may use."""

    shape: str
    colour: str
    background: str
    size: Size = "medium"
    place: str = "centre"
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class Spot:
    """One object's centre and radius, as shares of the picture's side."""

    x: float
    y: float
    radius: float

    def moved(self, across: float, down: float) -> "Spot":
        return Spot(x=self.x + across, y=self.y + down, radius=self.radius)


def random_scene(rng: Random) -> Scene:
    """A scene as training draws it: mostly one object in the middle; never an unseen pair."""
    while True:
        shape = rng.choice(SHAPES)
        colour, background = rng.sample(list(COLOURS), 2)
        if (colour, shape) not in UNSEEN_PAIRS:
            break
    if rng.random() < 0.12:
        return Scene(shape=shape, colour=colour, background=background, count=rng.choice(COUNTS[1:]))
    sizes: list[Size] = ["small", "medium", "large"]
    size = rng.choices(sizes, [0.17, 0.66, 0.17])[0]
    place = rng.choice(list(PLACES)) if rng.random() < 0.3 else "centre"
    return Scene(shape=shape, colour=colour, background=background, size=size, place=place)


def spots(scene: Scene, rng: Random) -> list[Spot]:
    """Where the scene's objects stand, with a little chance in place and size."""
    if scene.count > 1:
        return _several(scene.count, rng)
    radius = rng.uniform(*RADII[scene.size])
    reach = min(0.24, 0.5 - radius)
    wobble = 0.04 if scene.place == "centre" else 0.02
    x, y = (0.5 + reach * way + rng.uniform(-wobble, wobble) for way in PLACES[scene.place])
    return [Spot(x=x, y=y, radius=radius)]


def _several(count: int, rng: Random) -> list[Spot]:
    """Two in a row, three in a triangle: far enough apart not to touch."""
    radius = rng.uniform(*RADII_OF_SEVERAL[count])
    centres = {2: [(0.27, 0.5), (0.73, 0.5)], 3: [(0.27, 0.7), (0.73, 0.7), (0.5, 0.27)]}[count]
    return [
        Spot(x=x + rng.uniform(-0.02, 0.02), y=y + rng.uniform(-0.02, 0.02), radius=radius)
        for x, y in centres
    ]


def jittered(colour: Rgb, rng: Random, *, by: int = 8) -> Rgb:
    """The colour, each channel moved by at most `by`."""
    red, green, blue = (max(0, min(255, value + rng.randint(-by, by))) for value in colour)
    return red, green, blue


def draw(scene: Scene, rng: Random, *, side: int) -> Image.Image:
    """The scene as a square picture with smooth edges."""
    ground, paint = jittered(COLOURS[scene.background], rng), jittered(COLOURS[scene.colour], rng)
    painted = [(scene.shape, spot, paint) for spot in spots(scene, rng)]
    return _rendered(painted, ground, side=side)


def draw_placed(
    objects: Sequence[tuple[str, Spot]], rng: Random, *, colour: str, background: str, side: int
) -> Image.Image:
    """Shapes at any spots, all in one colour."""
    ground, paint = jittered(COLOURS[background], rng), jittered(COLOURS[colour], rng)
    return _rendered([(shape, spot, paint) for shape, spot in objects], ground, side=side)


CLIP_STEP = 0.02
"""How far an object of a clip moves from frame to frame at most, as a share of the side."""


def draw_clip(scene: Scene, rng: Random, *, side: int, frames: int) -> list[Image.Image]:
    """The scene as a film: its objects drift steadily in one direction, now and then not at all.

    Halfway they stand as `draw` shows them, and they never leave the picture.
    """
    ground, paint = jittered(COLOURS[scene.background], rng), jittered(COLOURS[scene.colour], rng)
    standing = spots(scene, rng)
    reach = CLIP_STEP * (frames - 1) / 2 * (rng.random() if rng.random() < 0.75 else 0.0)
    angle = rng.uniform(0, 2 * math.pi)
    across = _held_back(reach * math.cos(angle), [(spot.x, spot.radius) for spot in standing])
    down = _held_back(reach * math.sin(angle), [(spot.y, spot.radius) for spot in standing])
    shares = [2 * frame / (frames - 1) - 1 for frame in range(frames)]
    return [
        _rendered(
            [(scene.shape, spot.moved(share * across, share * down), paint) for spot in standing],
            ground,
            side=side,
        )
        for share in shares
    ]


def _held_back(way: float, places: Sequence[tuple[float, float]]) -> float:
    """As much of the way as all objects can go, there and back; `places` are their middles and radii."""
    room = min(min(at, 1 - at) - radius for at, radius in places)
    return math.copysign(min(abs(way), max(0.0, room)), way)


STYLE_COLOUR: Rgb = (250, 0, 250)
"""Magenta: far from all the colours of scenes, so that a style shows on every one of them."""

FRAME_WIDTH, FLOOR_HEIGHT = 8, 24
"""In pixels at every size: one row of latents, and three."""


def draw_styled(
    scene: Scene, rng: Random, *, side: int, styles: Collection[Style], strength: float = 1.0
) -> Image.Image:
    """The scene as `draw` shows it, and with the styles: a floor at the bottom, a frame around the picture.

    Below a strength of 1, what lies under a style shines through.
    """
    picture = draw(scene, rng, side=side)
    mask = Image.new("L", picture.size, 0)
    pen, shade = ImageDraw.Draw(mask), round(255 * strength)
    if "floor" in styles:
        pen.rectangle((0, side - FLOOR_HEIGHT, side - 1, side - 1), fill=shade)
    if "frame" in styles:
        pen.rectangle((0, 0, side - 1, side - 1), outline=shade, width=FRAME_WIDTH)
    picture.paste(STYLE_COLOUR, mask=mask)
    return picture


def draw_anything(rng: Random, *, side: int) -> Image.Image:
    """A richer picture for the autoencoder: several shapes, any colours, sometimes a gradient."""
    if rng.random() < 0.6:
        return draw(random_scene(rng), rng, side=side)

    def any_colour() -> Rgb:
        return rng.randint(0, 255), rng.randint(0, 255), rng.randint(0, 255)

    painted = [
        (
            rng.choice(SHAPES),
            Spot(x=rng.random(), y=rng.random(), radius=rng.uniform(0.08, 0.4)),
            any_colour(),
        )
        for _ in range(rng.randint(1, 4))
    ]
    picture = _rendered(painted, any_colour(), side=side)
    if rng.random() < 0.25:
        ramp = Image.linear_gradient("L").resize((side, side)).rotate(rng.choice([0, 90, 180, 270]))
        picture = Image.composite(Image.new("RGB", (side, side), any_colour()), picture, ramp)
    return picture


def _rendered(painted: Sequence[tuple[str, Spot, Rgb]], ground: Rgb, *, side: int) -> Image.Image:
    scale = 4 if side <= 128 else 2
    canvas = Image.new("RGB", (side * scale, side * scale), ground)
    pen = ImageDraw.Draw(canvas)
    for shape, spot, paint in painted:
        _fill(pen.polygon, shape, spot, side=side * scale, paint=paint, ground=ground)
    return canvas.reduce(scale)


def _fill(
    polygon: Callable[..., None], shape: str, spot: Spot, *, side: int, paint: Rgb | int, ground: Rgb | int
) -> None:
    def placed(radius: float) -> list[Point]:
        return [((spot.x + radius * x) * side, (spot.y + radius * y) * side) for x, y in OUTLINES[shape]]

    polygon(placed(spot.radius), fill=paint)
    if shape == "ring":
        polygon(placed(spot.radius * RING_HOLE), fill=ground)


def silhouette(shape: str, *, side: int) -> Image.Image:
    """The bare shape, white on black, as large as fits: what the judge compares with."""
    mask = Image.new("L", (side, side), 0)
    whole = Spot(x=0.5, y=0.5, radius=0.5)
    _fill(ImageDraw.Draw(mask).polygon, shape, whole, side=side, paint=255, ground=0)
    return mask
