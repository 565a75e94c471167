"""What every model family can do, asked of its tiny random models: the table of the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmviewer.core.explain.base import method_infos
from mmviewer.core.models.base import FAMILIES, Family
from mmviewer.core.types import CapturePoint, Modality

_PAGE = """\
# Model families

What mmviewer can do with each kind of model: what it is asked for, the places whose attention can be seen
(rows → columns), and the methods that work. The table is generated from the program itself.

{table}

A model that is not listed by name is recognised by the `model_type` in its `config.json`. *Answer questions*
means that it was trained to; a model that only captions can still write on from any beginning.

LXMERT looks at regions. They come from a file beside the picture, `PICTURE.regions.npz` with `boxes` [R, 4]
in pixels and, where they were computed elsewhere, `features` [R, 2048]; else from a detector on this machine,
such as `facebook/detr-resnet-50`, on whose features it was not trained. Every map names their origin.

See also: [what attention is](attention.md)
"""


@dataclass(frozen=True, slots=True)
class FamilyRow:
    """One kind of models of a family; `variant` tells them apart where there are several."""

    key: str
    label: str
    variant: str
    can: tuple[str, ...]
    points: tuple[CapturePoint, ...]
    methods: tuple[str, ...]

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.label} · {self.variant}" if self.variant else self.label

    @property
    def places(self) -> tuple[str, ...]:
        """The capture points in words, with what rows and columns are."""
        return tuple(f"{point.label}: {point.queries} → {point.keys}" for point in self.points)


def family_rows() -> tuple[FamilyRow, ...]:
    """Every kind of every family, by name."""
    rows = (_row(family, variant) for family in FAMILIES for variant in family.tiny_variants())
    return tuple(sorted(rows, key=lambda row: row.name.lower()))


def page(rows: Sequence[FamilyRow]) -> str:
    """The help page with the table, in Markdown."""
    lines = ["| Family | Can | Places | Methods |", "|---|---|---|---|"]
    for row in rows:
        cells = (f"**{row.name}**", ", ".join(row.can), "; ".join(row.places), ", ".join(row.methods))
        lines.append(f"| {' | '.join(cells)} |")
    return _PAGE.format(table="\n".join(lines))


def _row(family: Family, variant: str) -> FamilyRow:
    model = family.tiny(variant)
    sides = dict.fromkeys(model.side(modality) for modality in (Modality.IMAGE, Modality.AUDIO))
    methods = dict.fromkeys(info.label for side in sides for info in method_infos(side))
    info = model.info
    return FamilyRow(
        key=family.key,
        label=family.label,
        variant=variant,
        can=tuple(sorted(capability.value for capability in info.capabilities)),
        points=(*info.points, *info.features),
        methods=tuple(methods),
    )
