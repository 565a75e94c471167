"""The text tower: a small transformer that says each name in the direction where its images lie."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import torch
from open_clip.transformer import TextTransformer
from torch import Tensor
from torch.nn import functional

from recipe.bpe import learn_merges
from recipe.concepts import plural
from recipe.photo_space import DIMENSIONS

VOCABULARY = 4864
CONTEXT = 24
TEXT_CONFIG = {
    "context_length": CONTEXT, "vocab_size": VOCABULARY, "width": DIMENSIONS, "heads": 8, "layers": 2,
    "mlp_ratio": 1.0,
}  # fmt: skip
_BYTES_AND_SPECIALS = 512 + 2
FORMS = (
    ("{a}", 5), ("a photo of {a}", 6), ("{}", 4), ("a photo of the {}", 1), ("a picture of {a}", 1),
    ("photo of {}", 1), ("the {}", 1), ("{s}", 1), ("a photo of {s}", 1), ("two {s}", 1), ("some {s}", 1),
    ("a drawing of {a}", 1), ("an image of {a}", 1), ("{adj}", 2), ("a photo of {adj}", 1),
    ("this is {a}", 1),
    ("there is {a} in the picture", 1), ("i see {a}", 1), ("a close-up of {a}", 1), ("a bad photo of {a}", 1),
    ("my {}", 1), ("itap of my {}", 1), ("a photo of {a}.", 1), ("a blurry photo of {a}", 1),
)  # fmt: skip
_ADJECTIVES = [
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "purple",
    "pink",
    "brown",
    "black",
    "white",
    "gray",
    "grey",
    "golden",
    "silver",
    "dark",
    "bright",
    "colourful",
    "colorful",
    "big",
    "small",
    "large",
    "little",
    "tiny",
    "huge",
    "long",
    "short",
    "tall",
    "round",
    "flat",
    "thin",
    "fat",
    "old",
    "new",
    "young",
    "modern",
    "ancient",
    "vintage",
    "beautiful",
    "cute",
    "pretty",
    "ugly",
    "funny",
    "happy",
    "sad",
    "sleeping",
    "running",
    "sitting",
    "standing",
    "flying",
    "wild",
    "wet",
    "dirty",
    "clean",
    "shiny",
    "broken",
    "wooden",
    "metal",
    "plastic",
    "glass",
    "stone",
    "fresh",
    "ripe",
    "striped",
    "spotted",
    "furry",
    "fluffy",
    "single",
    "lonely",
    "two",
    "three",
]


@dataclass(frozen=True, slots=True)
class Names:
    """Names with their unit targets [N, D] and how often each is drawn for training."""

    names: tuple[str, ...]
    targets: Tensor
    weights: Tensor


def article(name: str) -> str:
    """Put "a" or "an" before a name."""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def phrase(name: str, rng: np.random.Generator) -> str:
    """Return one of the ways in which people write a label."""
    weights = np.array([weight for _, weight in FORMS], float)
    form = FORMS[rng.choice(len(FORMS), p=weights / weights.sum())][0]
    adjective = article(f"{_ADJECTIVES[rng.integers(len(_ADJECTIVES))]} {name}")
    return form.format(name, a=article(name), s=plural(name), adj=adjective)


def write_vocabulary(path: Path, names: Mapping[str, float]) -> None:
    """Learn the vocabulary from names with their weights and write it; the same file on every run."""
    counts: Counter[str] = Counter()
    for name, weight in names.items():
        for word in _words(name):
            counts[word] += max(int(weight * 100), 1)
        if weight >= 1:
            counts.update(dict.fromkeys(_words(plural(name)), 20))
    for form, _ in FORMS:
        counts.update(dict.fromkeys(_words(form.format("", a="a an", s="", adj="")), 10_000))
    counts.update(dict.fromkeys(_ADJECTIVES, 1000))
    merges = learn_merges(counts, VOCABULARY - _BYTES_AND_SPECIALS)
    text = "#version: mmviewer-photo\n" + "\n".join(" ".join(pair) for pair in merges)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def _words(text: str) -> list[str]:
    return [
        word for word in text.lower().replace("-", " ").replace("'", " ").replace(".", " ").split() if word
    ]


def tokenizer(path: Path) -> open_clip.SimpleTokenizer:
    """The tokenizer of a vocabulary file."""
    return open_clip.SimpleTokenizer(bpe_path=str(path), context_length=CONTEXT)


def encode(tower: TextTransformer, tokens: open_clip.SimpleTokenizer, texts: Sequence[str]) -> Tensor:
    """Return unit vectors [N, D]; the rows are cut to the longest text, which changes no value."""
    ids = tokens(list(texts))
    longest = int(ids.argmax(1).max()) + 1
    whole = tower.attn_mask
    tower.attn_mask = whole[:longest, :longest]
    try:
        return functional.normalize(tower(ids[:, :longest]).float(), dim=1)
    finally:
        tower.attn_mask = whole


def new_tower(tokens: open_clip.SimpleTokenizer, names: Names, seed: int) -> TextTransformer:
    """Return a tower that begins as a bag of words: the first layer adds up what the tokens stand for.

    Each token starts as the mean of the targets of the names that hold it, weighted by how much of the name
    it is.
    """
    torch.manual_seed(seed)
    tower = TextTransformer(
        context_length=CONTEXT, vocab_size=VOCABULARY, width=DIMENSIONS, heads=TEXT_CONFIG["heads"],
        layers=TEXT_CONFIG["layers"], mlp_ratio=TEXT_CONFIG["mlp_ratio"], output_dim=DIMENSIONS,
    )  # fmt: skip
    sums, counts = torch.zeros(VOCABULARY, DIMENSIONS), torch.zeros(VOCABULARY, 1)
    for name, target, weight in zip(names.names, names.targets, names.weights.tolist(), strict=True):
        ids = tokens.encode(name)
        share = weight / len(ids) ** 2
        for token in ids:
            sums[token] += share * target
            counts[token] += share
    met = counts[:, 0] > 0
    identity = torch.eye(DIMENSIONS)
    with torch.no_grad():
        tower.token_embedding.weight[met] = sums[met] / counts[met]
        adds = tower.transformer.resblocks[0].attn
        adds.in_proj_weight[: 2 * DIMENSIONS] *= 0.2
        adds.in_proj_weight[2 * DIMENSIONS :] = identity
        adds.out_proj.weight.copy_(identity)
        for block in tower.transformer.resblocks:
            block.mlp.c_proj.weight *= 0.3
        tower.transformer.resblocks[1].attn.out_proj.weight *= 0.3
        tower.text_projection.copy_(identity)
    return tower


def train_tower(
    tower: TextTransformer,
    tokens: open_clip.SimpleTokenizer,
    names: Names,
    *,
    steps: int,
    batch: int = 512,
    rate: float = 1e-3,
    seed: int = 0,
    pairs: float = 0.06,
) -> list[tuple[int, float]]:
    """Train the tower to say names in every form in the direction of their targets; returns the curve.

    Parameters
    ----------
    pairs
        Share of the texts that name two things; their target is the sum of both.
    """
    rng = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(tower.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    chance = (names.weights / names.weights.sum()).double().numpy()
    curve: list[tuple[int, float]] = []
    smooth = 0.0
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * min((step + 1) / 50, 1) * (1 - step / steps)
        rows = rng.choice(len(chance), size=batch, p=chance / chance.sum())
        texts = [phrase(names.names[row], rng) for row in rows]
        targets = names.targets[rows]
        for i in np.flatnonzero(rng.random(batch) < pairs):
            other = rng.choice(len(chance), p=chance / chance.sum())
            texts[i] = f"{article(names.names[rows[i]])} and {article(names.names[other])}"
            targets[i] = functional.normalize(targets[i] + names.targets[other], dim=0)
        with torch.autocast("cpu", torch.bfloat16):
            said = encode(tower, tokens, texts)
        loss = (said - targets).square().sum(1).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimiser.step()
        smooth = loss.item() if step == 0 else 0.98 * smooth + 0.02 * loss.item()
        if step % 50 == 0 or step == steps - 1:
            curve.append((step, round(smooth, 4)))
            print(f"step {step}: squared distance {smooth:.4f}", flush=True)
    return curve
