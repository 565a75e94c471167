"""Where each noun points in the space: its classes, what it is a kind of, or drawings of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from recipe.photo_wordnet import Nouns

# WordNet's files of nouns for what can be photographed.
_CATEGORIES = {
    3: "tops", 5: "animal", 6: "artifact", 8: "body", 13: "food", 17: "object", 18: "person",
    19: "phenomenon", 20: "plant", 27: "substance",
}  # fmt: skip
_VISIBLE = frozenset(_CATEGORIES)
_PERSON = 18
_LARGEST_KIND = 420  # classes; "animal" covers 398, "artifact" 522 and says nothing any more
_FURTHEST = 3
_FADING = 0.7

# What ImageNet has no class for, by classes that usually show it. These are stand-ins, and the card says so.
_STAND_INS: dict[str, tuple[str, ...]] = {
    "person": ("scuba diver", "groom", "ballplayer", "suit", "jersey", "sweatshirt", "jean",
        "miniskirt", "academic gown", "military uniform", "lab coat", "bow tie", "wig", "abaya", "kimono",
        "poncho", "trench coat", "bikini", "swimming trunks", "sunglasses"),
    "face": ("wig", "sunglasses", "lipstick", "neck brace", "mask", "bow tie", "hair spray",
        "shower cap"),
    "tree": ("lakeside", "valley", "park bench", "birdhouse", "fig", "acorn"),
    "mountain": ("alp", "volcano", "valley"),
    "sea": ("seashore", "promontory", "breakwater", "sandbar", "coral reef"),
    "beach": ("seashore", "sandbar"),
    "city": ("cinema", "traffic light", "street sign", "cab", "streetcar", "trolleybus",
        "parking meter"),
    "street": ("cab", "traffic light", "street sign", "parking meter", "streetcar", "trolleybus",
        "manhole cover"),
    "kitchen": ("stove", "refrigerator", "dishwasher", "microwave", "toaster"),
    "forest": ("lakeside", "valley", "mushroom", "gyromitra"),
    "flower": ("daisy", "yellow lady's slipper", "rapeseed", "vase", "bee", "cardoon"),
    "rocket": ("missile", "projectile"),
    "motorcycle": ("moped", "motor scooter", "disk brake"),
    "cow": ("ox", "water buffalo"),
    "chicken": ("cock", "hen"),
    "plant": ("daisy", "cardoon", "pot", "rapeseed", "fig", "corn"),
    "musical instrument": ("grand piano", "violin", "acoustic guitar", "drum", "flute", "sax",
        "accordion"),
}  # fmt: skip
_SAME_AS = {
    "people": "person", "man": "person", "woman": "person", "human": "person", "boy": "person",
    "girl": "person", "child": "person", "portrait": "face", "ocean": "sea", "coast": "sea",
    "motorbike": "motorcycle", "wood": "forest", "woods": "forest", "spaceship": "rocket",
    "road": "street", "rooster": "cock", "seal": "sea lion", "clothes": "clothing",
    "instrument": "musical instrument", "bunny": "rabbit", "kitten": "cat", "puppy": "dog",
    "tv": "television", "bike": "bicycle", "hippo": "hippopotamus", "burger": "cheeseburger",
    "hamburger": "cheeseburger", "sneaker": "running shoe", "chimp": "chimpanzee", "cattle": "cow",
    "bull": "ox", "polar bear": "ice bear", "plane": "airplane", "cellphone": "cellular telephone",
    "smartphone": "cellular telephone", "mobile phone": "cellular telephone", "couch": "studio couch",
    "sofa": "studio couch", "apple": "granny smith", "cup of coffee": "espresso", "soccer": "soccer ball",
    "hot air balloon": "balloon", "temple": "palace", "houseplant": "pot", "computer mouse": "mouse",
}  # fmt: skip
# Names of a class that everyone takes for something else.
_NOT_THE_CLASS = frozenset(("ear",))


@dataclass(slots=True)
class Word:
    """What is known of one name before its direction is found.

    Attributes
    ----------
    classes
        Indices of the classes that it covers; empty for what is only drawn or only unknown.
    drawn
        Names of the drawn concepts that it covers, itself included.
    strength
        1 for what the classes or the drawings show, less for what is only near to such a thing, 0 for a word
        that says nothing of a picture.
    """

    classes: frozenset[int] = frozenset()
    drawn: frozenset[str] = field(default_factory=frozenset)
    strength: float = 1.0


class Lexicon:
    """Every visible noun of WordNet with the classes and drawings that it covers.

    Parameters
    ----------
    nouns
    classes
        Offsets of the classifier's classes in its order.
    drawn
        Names of the concepts of which there are drawings.
    """

    def __init__(self, nouns: Nouns, classes: Sequence[int], drawn: Sequence[str]) -> None:
        self._nouns = nouns
        self._covered = nouns.covered(classes)
        self._class_names = self._by_lemma(classes)
        self._concepts = {name: offset for name in drawn if (offset := self._meaning(name)) is not None}
        self._drawn_below = self._drawings_below()
        self.words: Mapping[str, Word] = self._collect(drawn)

    def names_of_class(self, index: int) -> tuple[str, ...]:
        """All names of a class."""
        return tuple(name for name, indices in self._class_names.items() if index in indices)

    def _by_lemma(self, classes: Sequence[int]) -> dict[str, frozenset[int]]:
        """Classes by each of their own names: "crane" is the bird and the machine."""
        found: dict[str, set[int]] = {}
        for index, offset in enumerate(classes):
            for lemma in self._nouns.synsets[offset].lemmas:
                if lemma in _NOT_THE_CLASS:
                    continue
                found.setdefault(lemma.lower(), set()).add(index)
        return {lemma: frozenset(indices) for lemma, indices in found.items()}

    def _meaning(self, name: str) -> int | None:
        """The meaning of a name that can be photographed: the first that covers classes, else the first."""
        category = {o: self._nouns.synsets[o].category for o in self._nouns.senses.get(name, ())}
        visible = [offset for offset in category if category[offset] in _VISIBLE]
        visible.sort(key=lambda offset: category[offset] == _PERSON)  # "ewe" is a sheep rather than a people
        known = [o for o in visible[:3] if 0 < len(self._covered.get(o, ())) <= _LARGEST_KIND]
        return next(iter(known or visible), None)

    def _drawings_below(self) -> dict[int, frozenset[str]]:
        found: dict[int, set[str]] = {}
        for name, offset in self._concepts.items():
            for above, _ in self._nouns.ancestors(offset):
                found.setdefault(above, set()).add(name)
        return {offset: frozenset(names) for offset, names in found.items()}

    def _collect(self, drawn: Sequence[str]) -> dict[str, Word]:
        words = {name: self._word(name) for name in self._nouns.senses if len(name) > 1}
        for name, indices in self._class_names.items():
            words[name] = Word(indices, frozenset((name,)) & self._concepts.keys())
        words |= {name: Word(strength=0.0) for name in _NOT_THE_CLASS}
        for name in drawn:
            words.setdefault(name, Word())
            words[name].drawn |= {name}
            words[name].strength = 1.0
        for name, stand_ins in _STAND_INS.items():
            indices = frozenset().union(*(self._class_names[each] for each in stand_ins))
            words[name] = Word(words[name].classes | indices, words[name].drawn)
        for name, other in _SAME_AS.items():
            own = words.get(name, Word())
            words[name] = Word(words[other].classes, words[other].drawn | (own.drawn & {name}))
        return words

    def _word(self, name: str) -> Word:
        offset = self._meaning(name)
        if offset is None:
            return Word(strength=0.0)
        for above, steps in self._nouns.ancestors(offset):
            classes = self._covered.get(above, frozenset())
            drawn = self._drawn_below.get(above, frozenset())
            if steps > _FURTHEST or len(classes) > _LARGEST_KIND:
                break
            if classes or (drawn and steps < _FURTHEST):
                return Word(classes, drawn, _FADING**steps)
        return Word(strength=0.0)
