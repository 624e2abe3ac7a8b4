"""Write the model card of an exported checkpoint: README.md with its pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import yaml
from huggingface_hub import metadata_load

from dtreward.figures import draw_architecture, save_figure
from dtreward.published import PUBLISHED
from dtreward.tree.figure import draw_tree
from dtreward.tree.tree import PreferenceTree

TEMPLATE = Path(__file__).with_name("checkpoint_files") / "model_card.md"
LEADERBOARD = PUBLISHED / "leaderboard.csv"
DEMO_NOTE = re.compile(r"> \*\*Demo world.*\n\n")
LICENCE_KEYS = ("license", "license_name", "license_link")  # as the hub's front matter spells them
METADATA_KEYS = (*LICENCE_KEYS, "base_model", "datasets")
ARCHITECTURE_SIZE = (6.75, 1.6)  # inches


@dataclass(frozen=True)
class ModelCard:
    """What a model card says; None where it is not known.

    Args:
        name: of the model.
        base_model: hub id of the backbone, or the name of its folder.
        license: an id of the hub's list; "other" for the licence called `license_name`.
        license_name: of a licence that has no id.
        license_link: address of the licence's text.
        datasets: what the model is trained on.
        description: a paragraph about the model.
        demo: whether it belongs to the demo world, which the card then says.
        results: rows of a table, each a mapping from column to value.
    """

    name: str
    base_model: str
    license: str = "unknown"
    license_name: str | None = None
    license_link: str | None = None
    datasets: Sequence[str] | None = None
    description: str | None = None
    demo: bool = False
    results: Sequence[Mapping[str, Any]] = ()


def make_card(values: Mapping[str, Any], backbone: Path) -> ModelCard:
    """Make a card of its values, with the backbone's licence where they name none.

    A folder or file given as `base_model` is named without its path.

    Args:
        values: by the names of `ModelCard`.
        backbone: the backbone's folder; the front matter of its README.md may name the licence.

    Raises:
        ValueError: if a value is missing, or if a name is none of `ModelCard`'s.

    Example:
        >>> make_card({"name": "Mine", "base_model": "owner/backbone"}, Path("data/absent")).license
        'unknown'
    """
    legal = [field.name for field in fields(ModelCard)]
    required = [field.name for field in fields(ModelCard) if field.default is MISSING]
    missing = [name for name in required if name not in values]
    unknown = [name for name in values if name not in legal]
    if missing or unknown:
        raise ValueError(
            f"card lacks {missing} and has the unknown keys {unknown}; it must have {required}, "
            f"and its keys are {legal}"
        )
    complete = dict(values)
    if "license" not in complete:
        complete |= _read_licence(backbone / "README.md")
    base = Path(complete["base_model"])
    if base.exists():  # a folder, or a GGUF file
        complete["base_model"] = base.resolve().name
    return ModelCard(**complete)


def write_card(folder: Path, card: ModelCard, tree: PreferenceTree) -> None:
    """Write README.md and its two pictures, architecture.png and tree.png, into a folder."""
    _save_pictures(folder, card, tree)
    template = TEMPLATE.read_text(encoding="utf-8")
    if not card.demo:
        template = DEMO_NOTE.sub("", template)
    sentences = tree.effective_rule().rule_sentences()
    results = pd.DataFrame(list(card.results))
    text = template.format(
        metadata=_front_matter(card),
        name=card.name,
        description=f"{card.description}\n\n" if card.description else "",
        base_model=card.base_model,
        license=_licence_text(card),
        attributes=", ".join(tree.attributes),
        rule="\n".join(f"- {sentence}" for sentence in sentences),
        results="Not given." if results.empty else _markdown_table(results),
        leaderboard=_markdown_table(pd.read_csv(LEADERBOARD, dtype=str)),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def _read_licence(readme: Path) -> dict[str, str]:
    """Read the licence from a README's front matter; "unknown" where it names none."""
    licence = {"license": "unknown"}
    if not readme.exists():
        return licence
    metadata = metadata_load(readme) or {}
    for key in LICENCE_KEYS:
        if key in metadata:
            licence[key] = metadata[key]
    return licence


def _save_pictures(folder: Path, card: ModelCard, tree: PreferenceTree) -> None:
    """Draw the architecture and the tree, and save both as PNG."""
    architecture, ax = plt.subplots(figsize=ARCHITECTURE_SIZE)
    backbone = card.base_model.split("/")[-1]
    draw_architecture(ax, backbone=backbone, attributes=tree.attributes)
    drawing = draw_tree(tree, effective=True, title=card.name)
    for name, figure in (("architecture", architecture), ("tree", drawing.figure)):
        pdf = save_figure(figure, folder / name)[0]
        pdf.unlink()  # the card shows only the PNG
        plt.close(figure)


def _front_matter(card: ModelCard) -> str:
    """Write what the hub reads of a card, as YAML."""
    metadata = {}
    for key in METADATA_KEYS:
        value = getattr(card, key)
        if value is not None:
            metadata[key] = value
    metadata["library_name"] = "transformers"
    metadata["pipeline_tag"] = "text-classification"
    return yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)


def _licence_text(card: ModelCard) -> str:
    """Name the licence, with a link to its text where there is one."""
    name = card.license
    if name == "other" and card.license_name is not None:
        name = card.license_name
    if card.license_link is not None:
        return f"[{name}]({card.license_link})"
    return name


def _markdown_table(frame: pd.DataFrame) -> str:
    """Write a table in Markdown, without its index."""
    rows = [frame.columns, ["---"] * len(frame.columns), *frame.itertuples(index=False)]
    lines = []
    for row in rows:
        cells = " | ".join(str(cell) for cell in row)
        lines.append(f"| {cells} |")
    return "\n".join(lines)
