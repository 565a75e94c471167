"""Shared by the commands in which a model writes: caption, ask, transcribe."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from mmviewer.cli.console import DONE, print_json, print_line, print_table, watched
from mmviewer.cli.inputs import given_labels, load

if TYPE_CHECKING:
    from mmviewer.api import Example

SEQUENCE_SHAPE = """\
  {"model": {...}, "path": str, "notes": [str], "text": str, "finished": bool,
   "logprob": float,   sum over the tokens
   "tokens": [{"index": int, "id": int, "text": str, "start": int, "end": int, "logprob": float,
               "special": bool, "given": bool, "alternatives": [[str, float]]}]}
  notes: what was changed or missing in the file, such as a cut-off end
  start, end: characters of "text"; logprob: natural logarithm of the probability, null where given is true,
  which means fed to the model and not written by it"""


ANSWERS_SHAPE = """\
  With --answers:
  {"model": {...}, "path": str, "notes": [str], "question": str, "prompt": str,
   "answers": [{"answer": str, "share": float, "logprob": float, "per_token": float, "tokens": int,
                "end": float}]}   likeliest first
  share: probability if it must be one of them; logprob: natural logarithm of the answer's own probability,
  the sum over its tokens; end: that of stopping after it, 0 where an answer is always whole"""


def add_answers(parser: argparse.ArgumentParser, example: tuple[str, ...]) -> None:
    """Given answers to be scored, and examples that stand before the image."""
    parser.add_argument(
        "--answers", metavar="A,B,C", help="score these, with commas between, or @FILE, and write nothing"
    )
    parser.add_argument(
        "--example",
        action="append",
        nargs=len(example),
        default=[],
        metavar=example,
        help="stands before the image, for models that follow examples; may be repeated; - for no picture",
    )


def examples_of(options: argparse.Namespace) -> list[Example]:
    """Examples as they were given: a picture or -, a question where one is asked, and the answer."""
    from mmviewer import api

    return [
        api.Example(
            None if picture == "-" else api.open_item(picture), texts[-1], texts[0] if texts[1:] else ""
        )
        for picture, *texts in options.example
    ]


def score_given(options: argparse.Namespace, question: str = "", prompt: str = "") -> int:
    """Print how likely a model holds given answers."""
    from mmviewer import api
    from mmviewer.cli.output import model_facts

    media = api.open_item(options.file)
    answers, examples = given_labels(options.answers), examples_of(options)
    model = load(options)
    scores = api.score_answers(
        model, media, answers, question=question, prompt=prompt, examples=examples, progress=watched()
    )
    if not options.json:
        print_table((f"{scores.shares[place]:7.1%}", scores.answers[place]) for place in scores.ranking)
        return DONE
    print_json(
        {
            "model": model_facts(model.info),
            "path": media.path,
            "notes": list(media.notes),
            "question": scores.question,
            "prompt": scores.prompt,
            "answers": [
                {
                    "answer": scores.answers[place],
                    "share": float(scores.shares[place]),
                    "logprob": float(scores.logprobs[place]),
                    "per_token": float(scores.per_token[place]),
                    "tokens": int(scores.counts[place]),
                    "end": float(scores.ends[place]),
                }
                for place in scores.ranking
            ],
        }
    )
    return DONE


def write_down(options: argparse.Namespace, make: Any) -> int:
    """Let a model write about one file and print what it wrote."""
    from mmviewer import api
    from mmviewer.cli.output import model_facts, token_facts
    from mmviewer.core.types import Sampling

    media = api.open_item(options.file)
    model = load(options)
    sampling = Sampling(options.temperature, options.top_k, options.top_p, options.max_tokens, options.seed)
    sequence = make(model, media, sampling, progress=watched())
    if not options.json:
        print_line(sequence.written if sequence.kind == "answer" else sequence.text)
        return DONE
    logprobs = [token.logprob for token in sequence.tokens if token.logprob is not None]
    print_json(
        {
            "model": model_facts(model.info),
            "path": media.path,
            "notes": list(media.notes),
            **({"question": sequence.question, "answer": sequence.written} if sequence.question else {}),
            "text": sequence.text,
            "finished": sequence.finished,
            "logprob": float(sum(logprobs)),
            "tokens": [
                {**token_facts(token), "alternatives": [list(each) for each in token.alternatives]}
                for token in sequence.tokens
            ],
        }
    )
    return DONE
