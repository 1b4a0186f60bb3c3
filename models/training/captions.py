"""What a clip can show, and the sentences that say it. Pure Python: the checker uses it too.

A scene is {"background": name, "objects": [{"size", "colour", "shape", "motion"}, ...]} with one or
two objects of different colours. "size" may be None: the caption then leaves it open.
"""

import re

# sRGB in 0..1.
COLOURS = {
    "red": (0.90, 0.10, 0.10),
    "green": (0.10, 0.70, 0.20),
    "blue": (0.15, 0.25, 0.95),
    "yellow": (0.95, 0.90, 0.10),
    "purple": (0.60, 0.15, 0.80),
    "orange": (1.00, 0.55, 0.05),
}
BACKGROUNDS = {"black": (0.05, 0.05, 0.05), "white": (0.95, 0.95, 0.95), "gray": (0.50, 0.50, 0.50)}
SHAPES = ("circle", "square", "triangle")
SIZES = {"small": 12.0, "medium": 17.0, "large": 22.0}  # pixels: the radius of the circle

# Motions whose direction never changes wrap round the edges; "bouncing" ones turn back there.
MOTIONS = {
    "left": "moving left",
    "right": "moving right",
    "up": "moving up",
    "down": "moving down",
    "up-left": "moving diagonally up and left",
    "up-right": "moving diagonally up and right",
    "down-left": "moving diagonally down and left",
    "down-right": "moving diagonally down and right",
    "circle": "moving in a circle",
    "bounce-x": "bouncing left and right",
    "bounce-y": "bouncing up and down",
    "bounce-diagonal": "bouncing diagonally",
}

# The straight ones, x to the right and y down.
AXES = {
    "left": (-1, 0),
    "right": (1, 0),
    "up": (0, -1),
    "down": (0, 1),
    "up-left": (-1, -1),
    "up-right": (1, -1),
    "down-left": (-1, 1),
    "down-right": (1, 1),
}

TEMPLATES = (
    "{objects} on a {background} background",
    "on a {background} background, {objects}",
    "{objects}, {background} background",
)

_OBJECT = re.compile(
    rf"(?:\b({'|'.join(SIZES)})\s+)?\b({'|'.join(COLOURS)})\s+({'|'.join(SHAPES)})\s+"
    rf"({'|'.join(sorted(MOTIONS.values(), key=len, reverse=True))})"
)
_BACKGROUND = re.compile(rf"\b({'|'.join(BACKGROUNDS)}) background")


def write(scene, template=0):
    """The caption of a scene, in one of TEMPLATES."""

    def name(o):
        words = " ".join(filter(None, [o["size"], o["colour"], o["shape"], MOTIONS[o["motion"]]]))
        return ("an " if words.startswith("orange") else "a ") + words

    objects = " and ".join(name(o) for o in scene["objects"])
    return TEMPLATES[template].format(objects=objects, background=scene["background"])


def spans(caption):
    """(begin, end) of each object's phrase in a caption, without its article."""
    return [match.span() for match in _OBJECT.finditer(caption)]


def read(caption):
    """The scene that a caption tells of; ValueError if it isn't one of ours."""
    text = " ".join(caption.lower().split())
    background = _BACKGROUND.search(text)
    by_phrase = {phrase: motion for motion, phrase in MOTIONS.items()}
    objects = [
        {"size": size or None, "colour": colour, "shape": shape, "motion": by_phrase[phrase]}
        for size, colour, shape, phrase in _OBJECT.findall(text)
    ]
    if not background or not objects:
        raise ValueError(
            f"caption {caption!r}: one like 'a red circle moving left on a white background' "
            "is wanted"
        )
    return {"background": background.group(1), "objects": objects}


def held_out(scene):
    """True for the eighth of all combinations of colour, shape, motion and background that training
    never shows."""
    b = list(BACKGROUNDS).index(scene["background"])
    return any(
        (
            list(COLOURS).index(o["colour"])
            + 2 * SHAPES.index(o["shape"])
            + list(MOTIONS).index(o["motion"])
            + 3 * b
        )
        % 8
        == 0
        for o in scene["objects"]
    )


def draw_scene(rng, wanted_held_out, two=0.2, often=()):
    """A random scene from `rng` (random.Random), with two objects in a share `two` of cases, from
    the combinations kept back (True: at least one object's is) or from the others (False). A
    motion comes once more for each time that `often` names it."""
    count = 2 if rng.random() < two else 1
    motions = [*MOTIONS, *often]
    while True:
        scene = {
            "background": rng.choice(list(BACKGROUNDS)),
            "objects": [
                {
                    "size": rng.choice([None, *SIZES]),
                    "colour": colour,
                    "shape": rng.choice(SHAPES),
                    "motion": rng.choice(motions),
                }
                for colour in rng.sample(list(COLOURS), count)
            ],
        }
        if held_out(scene) == wanted_held_out:
            return scene
