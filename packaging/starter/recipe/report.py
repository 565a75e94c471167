"""What was measured, as Markdown tables: every figure beside chance and beside other models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Measures = dict[str, Any]
Cell = Callable[[Measures], str]
Row = tuple[str, str, Cell]  # what, chance, and the figure of a model

_NONE = "–"


def as_markdown(measured: Mapping[str, Measures], guided_layer: int) -> str:
    """Tables of one or several models side by side.

    Parameters
    ----------
    measured
        By the model's name, what `recipe.measuring.measure` returned; the first one's chances are told.
    guided_layer
        The layer of the decoder whose maps were trained with boxes.
    """
    first = next(iter(measured.values()))
    lines: list[str] = []
    for title, rows in _zero_shot_tables(first):
        lines += _table(title, measured, rows)
    # Heads are chosen on the first set, so that the others show what the choice is worth.
    chosen_on = next(iter(first["scenes"].values()))["pointing"]
    for name, found in first["scenes"].items():
        lines += [f"### Scenes of {name}", ""]
        for title, rows in _scene_tables(name, found, guided_layer, chosen_on):
            lines += _table(title, measured, rows)
    if "methods" in first:
        lines += ["### Maps by method", "", *_method_table(measured, first["methods"])]
    if "sound" in first:
        lines += ["### Sound", "", *_sound_tables(measured, first["sound"])]
    return "\n".join(lines).rstrip()


# --- cells ----------------------------------------------------------------------------------------


def _find(measures: Mapping[str, Any], path: Sequence[str]) -> Any:
    """What lies at a path of keys, or None where another version did not measure it."""
    found: Any = measures
    for key in path:
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    return found


def _share(value: Any) -> str:
    return _NONE if value is None or value != value else f"{value:.1%}"


def _shares(path: Sequence[str], *keys: str) -> Cell:
    """The figures of these names at a path, with a stroke between them."""

    def cell(measures: Measures) -> str:
        found = _find(measures, path)
        if found is None:
            return _NONE
        shares = [_share(found.get(key)) for key in keys]
        return " / ".join(share for share in shares if share != _NONE) or _NONE

    return cell


def _table(title: str, measured: Mapping[str, Measures], rows: Sequence[Row]) -> list[str]:
    lines = [f"| {title} | chance | " + " | ".join(measured) + " |", "|---" * (len(measured) + 2) + "|"]
    for label, chance, cell in rows:
        lines.append(f"| {label} | {chance} | " + " | ".join(cell(m) for m in measured.values()) + " |")
    return [*lines, ""]


# --- tables ---------------------------------------------------------------------------------------


def _zero_shot_tables(first: Measures) -> Iterator[tuple[str, list[Row]]]:
    for key, title in (
        (
            "zero_shot",
            f"zero-shot, one thing on white, {first['labels']} labels: top-1 / top-5 / right one of ten",
        ),
        ("earlier_labels", "the same among the 273 labels of the previous version"),
    ):
        if not first[key]:
            continue
        labels = first["labels"] if key == "zero_shot" else 273
        chance = f"{1 / labels:.1%} / {5 / labels:.1%} / 10.0%"
        yield (
            title,
            [
                (f"{style} ({found['images']})", chance, _shares((key, style), "top1", "top5", "ten_way"))
                for style, found in first[key].items()
            ],
        )
    yield (
        "calibration: expected error / mean confidence / accuracy / error at the best temperature",
        [
            (style, _NONE, _shares(("calibration", style), "ece", "confidence", "accuracy", "best_ece"))
            for style in first["calibration"]
        ],
    )


def _scene_tables(
    name: str, found: Measures, guided: int, chosen_on: Measures
) -> Iterator[tuple[str, list[Row]]]:
    here = ("scenes", name)
    captions = found["captions"]
    yield (
        "captions: nouns named / whole caption right / right but for colours",
        [
            (
                f"{kind} ({scores['scenes']})",
                _share(scores["nouns_chance"]),
                _shares((*here, "captions", "kinds", kind), "nouns", "whole", "whole_without_colours"),
            )
            for kind, scores in captions["kinds"].items()
        ],
    )
    yield (
        "captions: one word",
        [
            (f"{what} right ({captions[key]['scenes']})", _share(captions[key]["chance"]),
             _shares((*here, "captions", key), "right"))
            for key, what in (("relation", "relation"), ("number", "number"), ("order", "order of nouns"))
            if captions[key]["scenes"]
        ],
    )  # fmt: skip
    if "questions" in found:
        yield (
            "questions answered rightly",
            [
                (f"{kind} ({scores['questions']})", _share(max(scores["commonest"], scores["blind"])),
                 _shares((*here, "questions", kind), "right"))
                for kind, scores in found["questions"].items()
            ],
        )  # fmt: skip
    if "contrast" in found:
        yield (
            "true caption preferred to one false in a word: by embedding / by decoder",
            [
                (f"{kind} ({scores['pairs']})", "50.0%",
                 _shares((*here, "contrast", kind), "similarity", "likelihood"))
                for kind, scores in found["contrast"].items()
            ],
        )  # fmt: skip
    if "retrieval" in found:
        yield (
            "retrieval: R@1 / R@5",
            [
                (
                    f"{way} (of {scores['gallery']})",
                    f"{scores['r1_chance']:.1%} / {scores['r5_chance']:.1%}",
                    _shares((*here, "retrieval", way), "r1", "r5"),
                )
                for way, scores in found["retrieval"].items()
            ],
        )
    for group, pointing in found["pointing"].items():
        heads = chosen_on.get(group, pointing)["heads"]
        yield _pointing_table((*here, "pointing", group), group, pointing, guided, heads)


def _pointing_table(
    path: Sequence[str],
    group: str,
    pointing: Measures,
    guided: int,
    chosen_on: Mapping[str, Sequence[float]],
) -> tuple[str, list[Row]]:
    chance = f"{pointing['chance']:.1%} / {pointing['mass_chance']:.1%}"
    rows: list[Row] = []
    for layer in pointing["layers"]:
        word = "guided by boxes" if int(layer) == guided else "unguided"
        cell = _shares((*path, "layers", layer), "span", "mass", "right_thing")
        rows.append((f"layer {layer}, {word}", chance, cell))
    unguided = {layer: heads for layer, heads in chosen_on.items() if int(layer) != guided}
    for name, by_layer in (("any layer", chosen_on), ("the unguided layers", unguided)):
        layer, head = _best_head(by_layer)
        cell = _head_cell(path, layer, head)
        rows.append((f"best head of {name}: layer {layer}, head {head}", f"{pointing['chance']:.1%}", cell))
    rows.append(("no attention: patch most similar to the label", f"{pointing['chance']:.1%}",
                 _shares(path, "similarity")))  # fmt: skip
    title = (
        f"pointing, {group}, {pointing['nouns']} nouns: peak inside / mass inside / right thing "
        f"(always the centre: {pointing['centre']:.1%})"
    )
    return title, rows


def _best_head(heads: Mapping[str, Sequence[float]]) -> tuple[str, int]:
    return max(
        ((layer, head) for layer, scores in heads.items() for head in range(len(scores))),
        key=lambda place: heads[place[0]][place[1]],
    )


def _head_cell(path: Sequence[str], layer: str, head: int) -> Cell:
    def cell(measures: Measures) -> str:
        scores = _find(measures, (*path, "heads", layer))
        return _NONE if scores is None or head >= len(scores) else _share(scores[head])

    return cell


def _method_table(measured: Mapping[str, Measures], methods: Measures) -> list[str]:
    rows: list[Row] = [
        (f"{name} ({found['maps']})", f"{found['chance']:.1%} / {found['chance']:.1%}",
         _shares(("methods", "found", name), "peak_inside", "mass_inside"))
        for name, found in methods["found"].items()
    ]  # fmt: skip
    return _table(
        "method, a description's map over a picture of two things: peak / mass inside", measured, rows
    )


def _sound_tables(measured: Mapping[str, Measures], sound: Measures) -> list[str]:
    rows: list[Row] = []
    for path, scores in _leaves(sound, ()):
        keys = [key for key in scores if not key.endswith("chance") and isinstance(scores[key], float)]
        chances = [_share(scores[key]) for key in scores if key.endswith("chance")]
        label = f"{', '.join(path)}: {' / '.join(keys)}"
        rows.append((label, " / ".join(chances) or _NONE, _shares(("sound", *path), *keys)))
    return _table("sound", measured, rows)


def _leaves(tree: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Measures]]:
    """Every dictionary of figures in a tree of dictionaries, with its path."""
    if any(isinstance(value, float) for value in tree.values()):
        yield path, dict(tree)
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, key))
