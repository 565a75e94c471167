"""Things that may pass for each other, so that a false caption or a "no" is never half true."""

from __future__ import annotations

from collections.abc import Sequence

from recipe.concepts import Concept
from recipe.painting import Random

_GROUPS = """
bird, dove, eagle, duck, owl, chicken, rooster, turkey, penguin, flamingo, peacock, chick, wing
bug, beetle, ladybug, ant, honeybee, fly, mosquito, cricket, spider, scorpion, butterfly, worm
fish, tropical fish, shark, whale, dolphin
cat, black cat, lion, tiger
dog, wolf, fox
cow, bison, boar, pig
ram, goat, deer, horse, donkey, unicorn, zebra, camel
rat, rabbit, hedgehog, beaver, otter, badger, raccoon
bear, panda, koala, teddy bear, gorilla, monkey
lobster, shrimp, crab, scorpion
snake, worm, lizard, crocodile, dragon, turtle
snail, spiral shell
rose, tulip, hibiscus, sunflower, blossom, bouquet
shamrock, four leaf clover, seedling, maple leaf, tree
tree, palm tree, christmas tree
red apple, green apple, pear, peach, mango, tangerine, lemon, tomato, melon, cherries
bread, croissant, pretzel, sandwich, hot dog, burrito
cookie, donut, cupcake, birthday cake, pie, pancakes
candy, lollipop
egg, ice cream
house, houses, hospital, hotel, school, factory, castle, church
metro, train, tram, locomotive, bus
car, taxi, police car, truck, pickup truck, ambulance, fire engine, bus
bicycle, motorcycle, wheel
ship, sailboat, speedboat, canoe
moon, full moon, sun, sunrise, star, sparkles
fireworks, sparkles
soccer ball, baseball, american football, basketball
glasses, sunglasses
dress, kimono, t-shirt, bikini, shorts, jeans
handbag, briefcase, backpack, money bag, toolbox
shoe, high-heeled shoe, hiking boot
cap, top hat, graduation cap, crown
musical score, musical note, musical keyboard
violin, guitar
trumpet, saxophone, flute
mobile phone, telephone, telephone receiver
laptop, computer, keyboard, television, printer
open book, closed book, books, notebook, newspaper, bookmark, clipboard, calendar
pencil, pen, crayon, paintbrush
envelope, credit card, ticket
hammer, axe, wrench, screwdriver
microscope, telescope, camera
syringe, thermometer, test tube
ring, diamond
bed, couch, chair
bathtub, shower, toilet
mountain, volcano, desert
beer mug, wine glass, cocktail, coffee, teapot
radio, television
headphone, microphone
droplet, fire
snowman, snowflake
"""

_ALIKE: dict[str, set[str]] = {}
for _line in _GROUPS.strip().splitlines():
    _names = _line.split(", ")
    for _name in _names:
        _ALIKE.setdefault(_name, set()).update(_names)
# One name holds the other: a bird is on each of these.
_SAME = (
    ("bird", "dove", "eagle", "duck", "owl", "chicken", "rooster", "turkey", "penguin", "flamingo", "peacock",
     "chick"),
    ("chicken", "rooster", "chick", "turkey"),
    ("bug", "beetle", "ladybug", "ant", "honeybee", "fly", "mosquito", "cricket", "spider", "scorpion"),
    ("fish", "tropical fish", "shark"), ("cat", "black cat"), ("metro", "train", "tram", "locomotive"),
    ("car", "taxi", "police car", "truck", "pickup truck"), ("ship", "sailboat", "speedboat", "canoe"),
    ("moon", "full moon"), ("sun", "sunrise"), ("telephone", "telephone receiver", "mobile phone"),
    ("laptop", "computer", "keyboard"), ("open book", "closed book", "books", "notebook"),
    ("house", "houses", "school", "hospital", "hotel"), ("handbag", "briefcase", "backpack"),
    ("shamrock", "four leaf clover", "seedling", "maple leaf"), ("tree", "christmas tree", "palm tree"),
    ("rose", "tulip", "hibiscus", "sunflower", "blossom", "bouquet"), ("rat", "computer mouse"),
    ("snail", "spiral shell"), ("pencil", "pen", "crayon"), ("bear", "teddy bear"), ("bicycle", "wheel"),
    ("musical score", "musical note"), ("musical keyboard", "keyboard"), ("mountain", "volcano"),
    ("glasses", "sunglasses"), ("ring", "diamond"), ("fireworks", "sparkles", "star"), ("ant", "bug", "worm"),
    ("dress", "kimono"), ("lobster", "shrimp"), ("snake", "worm"), ("fire", "candle"), ("cap", "top hat"),
)  # fmt: skip
_SHARE_ALIKE = 0.4
_TRIES = 12


def may_be(first: str, second: str) -> bool:
    """Whether something called by the first name may rightly be called by the second."""
    shorter, longer = sorted((first, second), key=len)
    if first == second or longer.endswith(f" {shorter}"):  # a red apple is an apple
        return True
    return any(first in group and second in group for group in _SAME)


class FalseConcepts:
    """Draws things that are not in a scene, often similar ones.

    Parameters
    ----------
    concepts, choices
        All concepts, and those to choose from.
    random
        Of the choice.
    """

    def __init__(self, concepts: Sequence[Concept], choices: Sequence[int], random: Random) -> None:
        self._names = [concept.name for concept in concepts]
        self._choices, self._random = list(choices), random
        places = {self._names[i]: i for i in self._choices}
        self._alike = {
            name: [places[other] for other in sorted(others) if other in places] or self._choices
            for name, others in _ALIKE.items()
        }

    def draw(self, there: Sequence[int], like: int | None = None) -> int | None:
        """A concept that none of those `there` may be called by, or None where none was found.

        Often it is similar to the concept `like`.
        """
        pool = self._choices
        if like is not None and self._random.chance(_SHARE_ALIKE):
            pool = self._alike.get(self._names[like], pool)
        for _ in range(_TRIES):
            found = pool[self._random.index(len(pool))]
            if not any(may_be(self._names[i], self._names[found]) for i in there):
                return found
        return None
