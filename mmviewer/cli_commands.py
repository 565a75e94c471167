"""What each command of the command line does."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmviewer import cli
from mmviewer.cli_output import (
    check_target,
    explanation_facts,
    model_facts,
    peak,
    peak_words,
    ranking,
    token_facts,
    write_embeddings,
    write_maps,
)
from mmviewer.core.errors import ExportError, InputError, MediaError
from mmviewer.core.progress import SILENT, Progress
from mmviewer.core.types import Media, Modality, Sampling, TokenSequence

if TYPE_CHECKING:
    from mmviewer.core.models.base import LoadedModel

_LABEL_FILE_BYTES = 10 * 2**20


# --- commands ------------------------------------------------------------------------------------
def classify(options: argparse.Namespace) -> int:
    """``mmviewer classify``."""
    from mmviewer import api
    from mmviewer.core.tasks.classify import DEFAULT_TEMPLATES, check_labels, check_templates

    labels = check_labels(_labels(options.labels))
    templates = check_templates(options.template or DEFAULT_TEMPLATES)
    items, failures = _open_all(options.files)
    if not items:
        return _report_failures(failures)
    model = _load(options)
    items = _fitting(model, items, failures)
    scores = api.classify(model, items, labels, templates, progress=_progress())
    rows = zip(items, scores.probabilities, scores.similarities, strict=True)
    ranked = [(item, ranking(labels, chances, similarities)) for item, chances, similarities in rows]
    if options.json:
        _print_json(
            {
                "model": model_facts(model.info),
                "activation": scores.activation,
                "labels": list(labels),
                "templates": list(templates),
                "notes": list(scores.notes),
                "items": [{"path": item.path, "id": item.id, "scores": ranks} for item, ranks in ranked],
                "failures": failures,
            }
        )
    else:
        for item, ranks in ranked:
            _print(str(item.path))
            _print_table((f"{rank['probability']:7.1%}", rank["label"]) for rank in ranks)
    return _report_failures(failures)


def caption(options: argparse.Namespace) -> int:
    """``mmviewer caption``."""
    from mmviewer import api

    return _write_down(options, api.caption)


def transcribe(options: argparse.Namespace) -> int:
    """``mmviewer transcribe``."""
    from mmviewer import api

    return _write_down(options, api.transcribe)


def explain(options: argparse.Namespace) -> int:
    """``mmviewer explain``."""
    from mmviewer import api
    from mmviewer.core.explain.selection import check_tokens, show, tokens_of_word
    from mmviewer.core.tasks.query import query_sequence

    media = api.open_item(options.file)
    if media.modality is Modality.TEXT:
        raise InputError(f"{options.file} is text; explain needs an image or a sound.")
    check_target(options.map, (".npz",))
    check_target(options.figure, (".svg", ".pdf", ".png"))
    model = _load(options)
    if options.text is not None:
        sequence = query_sequence(model, media.id, options.text)
    else:
        make = api.transcribe if media.modality is Modality.AUDIO else api.caption
        sequence = make(model, media, progress=_progress())
    chosen = tokens_of_word(sequence.tokens, options.word) if options.word is not None else ()
    if options.token is not None:
        chosen = check_tokens(sequence.tokens, (options.token,))
    maps = api.explain(
        model,
        media,
        sequence,
        method=options.method,
        point=options.point,
        layer=options.layer,
        head=options.head,
        progress=_progress(),
    )
    shown = show(maps, chosen)
    if options.map:
        write_maps(options.map, model.info, media, maps, shown)
    if options.figure:
        api.figure(maps, media, options.figure, tokens=chosen, model=model)
    if options.json:
        files = {"map": options.map, "figure": options.figure}
        facts = {"model": model_facts(model.info), **explanation_facts(media, sequence, maps, shown), **files}
        _print_json(facts)
    else:
        _print(f"{sequence.kind}: {sequence.text}")
        _print(f"{shown.label}: {maps.description}")
        _print(f"strongest at {peak_words(peak(shown.grid, maps.geometry))}")
        for line in (maps.score and f"score: {maps.score}", maps.caveat):
            if line:
                _print(line)
    return cli.DONE


def embed(options: argparse.Namespace) -> int:
    """``mmviewer embed``."""
    from mmviewer import api
    from mmviewer.core.media.text import text_media

    if not options.files and not options.text:
        raise InputError("There is nothing to embed; name files or give --text.")
    check_target(options.out, (".npz",))
    items, failures = _open_all(options.files)
    items += [text_media(text) for text in options.text]
    if not items:
        return _report_failures(failures)
    model = _load(options)
    items = _fitting(model, items, failures)
    embeddings = api.embed(model, items, progress=_progress())
    write_embeddings(options.out, model.info, items, embeddings)
    count, dimensions = embeddings.vectors.shape
    if options.json:
        _print_json(
            {
                "model": model_facts(model.info),
                "out": options.out,
                "dimensions": dimensions,
                "notes": list(embeddings.notes),
                "items": [
                    {"path": item.path, "id": item.id, "name": item.name, "modality": item.modality.value}
                    for item in items
                ],
                "failures": failures,
            }
        )
    else:
        _print(f"{count} vectors of {dimensions} dimensions in {options.out}")
        for note in embeddings.notes:
            _print(note)
    return _report_failures(failures)


def doctor(options: argparse.Namespace) -> int:
    """``mmviewer doctor``."""
    from mmviewer.core.doctor import Missing, display, report

    facts, missing = report()
    facts["audio"] = _audio_devices(missing)
    available, reason = display()
    facts["display"] = {"available": available, "reason": reason}
    if not available:
        missing.append(Missing("display", f"no window can open: {reason}", "log in to a desktop or use Xvfb"))
    facts["missing"] = [asdict(item) for item in missing]
    if options.json:
        _print_json(facts)
        return cli.DONE
    devices = facts["devices"]
    _print(f"mmviewer {facts['mmviewer']}, Python {facts['python']}, {facts['platform']}")
    _print(f"models run on: {devices['chosen']} in {devices['dtype']} ({devices['reason']})")
    _print(f"starter model: {facts['starter']['path'] if facts['starter']['present'] else 'missing'}")
    _print(f"display: {reason}")
    _print(f"sound: {', '.join(facts['audio']['outputs']) or facts['audio']['reason']}")
    _print_table((name, version or "missing") for name, version in facts["packages"].items())
    for item in missing:
        _print(f"missing: {item.what} – {item.consequence}. {item.remedy}")
    return cli.DONE


def models(options: argparse.Namespace) -> int:
    """``mmviewer models``."""
    from mmviewer.core.models.loader import list_models

    listed = list_models()
    if options.json:
        _print_json([asdict(entry) for entry in listed])
    else:
        _print_table((entry.source, f"{entry.label} ({entry.family})") for entry in listed)
    return cli.DONE


# --- shared by commands ------------------------------------------------------------------------------
def _write_down(options: argparse.Namespace, make: Any) -> int:
    from mmviewer import api

    media = api.open_item(options.file)
    model = _load(options)
    sampling = Sampling(options.temperature, options.top_k, options.top_p, options.max_tokens, options.seed)
    sequence: TokenSequence = make(model, media, sampling, progress=_progress())
    if not options.json:
        _print(sequence.text)
        return cli.DONE
    logprobs = [token.logprob for token in sequence.tokens if token.logprob is not None]
    _print_json(
        {
            "model": model_facts(model.info),
            "path": media.path,
            "notes": list(media.notes),
            "text": sequence.text,
            "finished": sequence.finished,
            "logprob": float(sum(logprobs)),
            "tokens": [
                {**token_facts(token), "alternatives": [list(each) for each in token.alternatives]}
                for token in sequence.tokens
            ],
        }
    )
    return cli.DONE


def _load(options: argparse.Namespace) -> LoadedModel:
    from mmviewer import api

    return api.load(options.model, options.device, options.dtype, _progress())


def _labels(given: str) -> Sequence[str]:
    """Labels with commas between, or one a line in a file named after an @."""
    if not given.startswith("@"):
        return given.split(",")
    path = Path(given[1:])
    try:
        if path.stat().st_size > _LABEL_FILE_BYTES:
            raise InputError(f"{path} is too large for a list of labels; give one label a line.")
        return [line for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The labels in {path} cannot be read; give a text file with one label a line."
        ) from error


def _open_all(files: Iterable[str]) -> tuple[list[Media], list[dict[str, str]]]:
    """Open what can be opened; the rest goes on, and each failure is told."""
    from mmviewer import api

    items: list[Media] = []
    failures: list[dict[str, str]] = []
    for file in files:
        try:
            items.append(api.open_item(file))
        except MediaError as error:
            failures.append({"path": file, "error": error.message})
    return items, failures


def _fitting(model: LoadedModel, items: list[Media], failures: list[dict[str, str]]) -> list[Media]:
    """Items of a kind that the model embeds, so that the rest goes on; all, to be refused, if it is none."""
    from mmviewer.api import KIND_WORDS
    from mmviewer.core.tasks.embed import NEEDED

    fitting = [item for item in items if model.info.can(NEEDED[item.modality])]
    if not fitting:
        return items
    for item in items:
        if not model.info.can(NEEDED[item.modality]):
            sentence = f"{item.name} is {KIND_WORDS[item.modality]}, which {model.info.label} cannot embed."
            failures.append({"path": str(item.path), "error": sentence})
    return fitting


def _report_failures(failures: Sequence[dict[str, str]]) -> int:
    for failure in failures:
        cli.complain(failure["error"])
    return cli.FAILED if failures else cli.DONE


def _audio_devices(missing: list[Any]) -> dict[str, Any]:
    from mmviewer.core.doctor import Missing

    try:
        import sounddevice

        listed = [dict(device) for device in sounddevice.query_devices()]
    except Exception as error:  # noqa: BLE001 - PortAudio is foreign code; the doctor reports whatever it does
        missing.append(Missing("PortAudio", f"sounds cannot be played: {error}", "install libportaudio2"))
        return {"outputs": [], "inputs": [], "reason": str(error)}
    outputs = [str(device["name"]) for device in listed if device["max_output_channels"] > 0]
    inputs = [str(device["name"]) for device in listed if device["max_input_channels"] > 0]
    if not outputs:
        missing.append(Missing("sound output", "sounds cannot be played", "connect or enable a sound device"))
    return {"outputs": outputs, "inputs": inputs, "reason": "" if outputs else "no sound output was found"}


def _progress() -> Progress:
    """A line that overwrites itself, where someone is watching."""
    return Progress(_show_progress) if sys.stderr.isatty() else SILENT


def _show_progress(done: float, total: float | None, message: str) -> None:
    share = f" {done / total:4.0%}" if total else ""
    sys.stderr.write(f"\r\x1b[K{message}{share}\r")
    sys.stderr.flush()


def _print(line: str) -> None:
    if sys.stdout is None:  # closed by whoever started us
        raise ExportError("There is no output to write the results to; leave stdout open.")
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        cli.discard_output()
        reason = error.strerror or type(error).__name__
        raise ExportError(f"The results cannot be written to the output: {reason}.") from error


def _print_json(value: object) -> None:
    _print(json.dumps(value, ensure_ascii=False, indent=2, default=_plain))


def _plain(value: object) -> object:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return str(value)


def _print_table(rows: Iterable[tuple[str, str]]) -> None:
    listed = list(rows)
    width = max((len(left) for left, _ in listed), default=0)
    for left, right in listed:
        _print(f"  {left:<{width}}  {right}")
