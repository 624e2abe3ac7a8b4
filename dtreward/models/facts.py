"""What a reward model's files hold, each fact beside what the catalogue and publications say."""

from __future__ import annotations

import csv
import pickletools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from dtreward.conversation import FIXED_PAIR, ChatTokenizer
from dtreward.models.checkpoint import TREE
from dtreward.models.checkpoint_folder import PICKLED_TREE
from dtreward.models.findings import DIFFERS, HOLDS, REFUSED, Fact
from dtreward.models.heads import GATE_MARKERS
from dtreward.models.load_checkpoint import Judgement
from dtreward.models.remote import Outline
from dtreward.published import PUBLISHED
from dtreward.tree.tree import PreferenceTree

NO_BOS = "none"
SIZE_TOLERANCE = 0.1  # of a published size, which is rounded and may count other files
ROUNDING = 0.0005  # the published trees' thresholds have three decimals
FORMATS = {"float64": "F64", "float32": "F32", "bfloat16": "BF16", "float16": "F16"}
# The columns of the published table that a fact is compared with.
COLUMNS = {
    "class": ("architecture", "hidden_size", "layers"),
    "head": ("head",),
    "bias": ("head",),
    "dtype": ("dtype",),
    "size": ("gb",),
    "BOS": ("bos",),
    "licence": ("licence",),
}


def facts_of(judgement: Judgement, outline: Outline) -> list[Fact]:
    """List the facts of a model's files.

    Args:
        judgement: what `load` makes of them.
        outline: their folder, and what the hub says beside them.
    """
    published = published_files().get(judgement.entry.repo, {})
    facts = [
        _class_fact(judgement, published),
        *_tokenizer_facts(judgement, published, outline),
        *_head_facts(judgement, published),
        _tensors_fact(judgement),
        _dtype_fact(judgement, published),
        _size_fact(judgement, published, outline),
        *_tree_facts(judgement, outline.folder),
        _compare("licence", outline.licence or "the card names none", published, "licence"),
    ]
    return [_mark_unverified(fact, published) for fact in facts]


@cache
def published_files() -> dict[str, dict[str, str]]:
    """Read what publications say of the files of reward models, by hub id.

    Example:
        >>> published_files()["RLHFlow/Decision-Tree-Reward-Llama-3.1-8B"]["head"]
        'score.weight 5x4096; score.bias 5'
    """
    with (PUBLISHED / "model_files.csv").open(encoding="utf-8", newline="") as file:
        return {row["repo"]: row for row in csv.DictReader(file)}


def _mark_unverified(fact: Fact, published: Mapping[str, str]) -> Fact:
    """Say of a fact that differs where nobody had read the expected value in the files."""
    unverified = published.get("unverified", "").split()
    columns = [name for name in COLUMNS.get(fact.name, ()) if name in unverified]
    if fact.outcome != DIFFERS or not columns:
        return fact
    return replace(fact, expected=f"{fact.expected} (nobody had read it in the files)")


def _compare(name: str, found: str, published: Mapping[str, str], column: str) -> Fact:
    """Compare what is found with a column of the published table."""
    expected = published.get(column, "")
    if not expected:
        return Fact(name, found)
    return Fact(name, found, expected, HOLDS if found == expected else DIFFERS)


def _refuse(fact: Fact, judgement: Judgement, *steps: str) -> Fact:
    """Turn a fact into a refusal where one of these steps of `load` has failed."""
    reasons = [judgement.problems[step] for step in steps if step in judgement.problems]
    if not reasons:
        return fact
    return replace(fact, outcome=REFUSED, consequence=f"refuses it: {'; '.join(reasons)}")


def _class_fact(judgement: Judgement, published: Mapping[str, str]) -> Fact:
    config = judgement.config
    found = "config.json cannot be read"
    if config:
        found = _class_text(
            " or ".join(config.get("architectures") or ["no class"]),
            config.get("num_hidden_layers"),
            config.get("hidden_size"),
        )
    if not published:
        return _refuse(Fact("class", found), judgement, "class")
    expected = _class_text(
        published["architecture"], published["layers"], int(published["hidden_size"])
    )
    outcome = HOLDS if found == expected else DIFFERS
    return _refuse(Fact("class", found, expected, outcome), judgement, "class")


def _class_text(architecture: str, layers: Any, hidden: Any) -> str:
    return f"{architecture}, {layers} layers of {hidden}"


def _tokenizer_facts(
    judgement: Judgement, published: Mapping[str, str], outline: Outline
) -> Iterator[Fact]:
    """Look at BOS, at the rendered text of a fixed pair, and at what a gate reads."""
    if judgement.description is None:
        return
    chat = judgement.description.chat
    if chat is None:
        yield _refuse(Fact("BOS", "the tokenizer cannot be used"), judgement, "tokenizer")
        return
    found = chat.tokenizer.bos_token if chat.bos == "one" else NO_BOS
    yield _compare("BOS", found or NO_BOS, published, "bos")
    yield _template_fact(chat, judgement)
    yield _pooling_fact(judgement)
    if judgement.head is not None and judgement.head.gated:
        expected = GATE_MARKERS.get(judgement.config["model_type"], "not known for this family")
        fact = Fact("gate marker", repr(chat.marker), repr(expected), HOLDS)
        yield _refuse(fact, judgement, "template")
    if not outline.whole_vocabulary:
        yield Fact("vocabulary", "not read: only the tokenizer's added tokens were")


def _template_fact(chat: ChatTokenizer, judgement: Judgement) -> Fact:
    """Show the fixed pair as the template writes it; its middle is known for some families."""
    text = chat.rendered(*FIXED_PAIR)
    expected = GATE_MARKERS.get(judgement.config["model_type"])
    if judgement.entry.repo not in published_files() or expected is None:
        return Fact("template", repr(text))
    middle = f"between the two, {expected!r}"
    if expected in text:
        return Fact("template", repr(text), middle, HOLDS)
    return Fact("template", repr(text), middle, DIFFERS, "reads the text as it is written here")


def _pooling_fact(judgement: Judgement) -> Fact:
    """Say which token the head reads; `load` asks where the files do not tell."""
    found = judgement.pooling or "no file says which token the head reads"
    expected = judgement.entry.pooling
    if not expected or not judgement.pooling:
        return _refuse(Fact("pooling", found), judgement, "pooling")
    outcome = HOLDS if found == expected else DIFFERS
    return _refuse(Fact("pooling", found, expected, outcome), judgement, "pooling")


def _head_facts(judgement: Judgement, published: Mapping[str, str]) -> Iterator[Fact]:
    """Compare names and shapes of the head's weights, and of its biases."""
    expected = {}
    for part in filter(None, published.get("head", "").split("; ")):
        name, shape = part.split(" ")
        expected[name] = shape
    found = {
        name: "x".join(map(str, shape)) or "1" for name, shape in judgement.head_shapes.items()
    }
    for fact, is_bias in (("head", False), ("bias", True)):
        own = {name: shape for name, shape in found.items() if name.endswith(".bias") == is_bias}
        wanted = {n: shape for n, shape in expected.items() if n.endswith(".bias") == is_bias}
        one = _shapes_fact(fact, own, wanted, is_known=bool(expected))
        yield one if is_bias else _refuse(one, judgement, "head")


def _shapes_fact(
    name: str, found: Mapping[str, str], wanted: Mapping[str, str], *, is_known: bool
) -> Fact:
    """Compare shapes by tensor; of a gate only those that are published."""
    text = _shapes_text(found)
    if not is_known:
        return Fact(name, text)
    expected = _shapes_text(wanted)
    is_gate = any(_is_of_gate(tensor) for tensor in found)
    compared = {tensor: shape for tensor, shape in found.items() if tensor in wanted or not is_gate}
    consequence = "takes the head as it is" if compared != wanted else ""
    outcome = HOLDS if compared == wanted else DIFFERS
    return Fact(name, text, expected, outcome, consequence)


def _shapes_text(shapes: Mapping[str, str]) -> str:
    """List tensors with their shapes; those of a gate, which are many, are counted."""
    shown = [f"{tensor} {shape}" for tensor, shape in shapes.items() if not _is_of_gate(tensor)]
    count = sum(_is_of_gate(tensor) for tensor in shapes)
    if count:
        shown.append(f"{count} tensors of a gate")
    return "; ".join(shown) or "none"


def _is_of_gate(tensor: str) -> bool:
    return tensor.startswith("gating.")


def _tensors_fact(judgement: Judgement) -> Fact:
    """Say whether the transformer has the tensors, by name and shape, of its config.json."""
    count = sum(judgement.formats.values())
    if not count:
        return Fact("tensors", "none was read")
    fact = Fact("tensors", f"{count}", "the names and shapes of config.json", HOLDS)
    return _refuse(fact, judgement, "tensors")


def _dtype_fact(judgement: Judgement, published: Mapping[str, str]) -> Fact:
    """Compare the number format of most tensors with the published or the configured one."""
    formats = judgement.formats
    if not formats:
        return Fact("dtype", "no tensor was read")
    config = judgement.config
    configured = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    found = ", ".join(f"{name} in {count} tensors" for name, count in sorted(formats.items()))
    expected = published.get("dtype") or FORMATS.get(configured, configured)
    most = max(formats, key=formats.__getitem__)
    if most == expected:
        return Fact("dtype", found, expected, HOLDS)
    return Fact("dtype", found, expected, DIFFERS, f"reads them as {configured} on a GPU")


def _size_fact(judgement: Judgement, published: Mapping[str, str], outline: Outline) -> Fact:
    """Add up the weight files; a file that is not as long as its header says is refused."""
    total = sum(outline.sizes.values())
    found = f"{_amount(total)} in {len(outline.sizes)} files"
    gb = float(published.get("gb") or 0)
    if not gb:
        return _refuse(Fact("size", found), judgement, "weights")
    outcome = HOLDS if abs(total / 1e9 - gb) <= SIZE_TOLERANCE * gb else DIFFERS
    return _refuse(Fact("size", found, f"{gb} GB", outcome), judgement, "weights")


def _amount(size: int) -> str:
    """Write a number of bytes.

    Example:
        >>> _amount(15_009_857_536), _amount(5_420_000)
        ('15.0 GB', '5.4 MB')
    """
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _tree_facts(judgement: Judgement, folder: Path) -> Iterator[Fact]:
    """Look at the tree's file: what is in it, and whether it is the published tree."""
    name = next((name for name in (TREE, PICKLED_TREE) if (folder / name).exists()), "")
    published = judgement.entry.tree
    if not name and not published:
        return
    found = "no file of a tree"
    if name == PICKLED_TREE:
        found = f"{name}, {_opcodes(folder / name)}"
    elif name:
        found = name
    tree = judgement.tree
    if judgement.head is None:
        yield Fact("tree", f"{found}, not looked at: there is no head for it")
        return
    if tree is not None:
        found += f", {_leaves(tree)}"
    if not published:
        yield _refuse(Fact("tree", found), judgement, "tree")
        return
    wanted = PreferenceTree.published(published)
    expected = f"the published tree, {_leaves(wanted)}"
    is_same = tree is not None and _same_splits(tree, wanted)
    outcome = HOLDS if name and is_same else DIFFERS
    consequence = ""
    if outcome == DIFFERS:
        consequence = f"decides by {name}" if name else "decides by the published tree"
    yield _refuse(Fact("tree", found, expected, outcome, consequence), judgement, "tree")


def _opcodes(path: Path) -> str:
    """Say how many instructions a pickle has, without running one."""
    try:
        count = sum(1 for _ in pickletools.genops(path.read_bytes()))
    except Exception as error:  # noqa: BLE001 (damaged pickles fail in as many ways as there are)
        return f"which is no whole pickle ({type(error).__name__})"
    return f"{count} opcodes"


def _leaves(tree: PreferenceTree) -> str:
    splits = [f"{name} > {threshold:.3g}" for name, threshold in _splits(tree)]
    return f"{len(splits)} splits ({', '.join(splits)})"


def _splits(tree: PreferenceTree) -> list[tuple[str, float]]:
    """List attribute and threshold of each split, in preorder."""
    inner = [node for node, feature in enumerate(tree.feature) if feature >= 0]
    return [(tree.attributes[tree.feature[node]], float(tree.threshold[node])) for node in inner]


def _same_splits(tree: PreferenceTree, published: PreferenceTree) -> bool:
    """Whether two trees split alike, up to the rounding of what was published."""
    own = _splits(tree)
    other = _splits(published)
    if [name for name, _ in own] != [name for name, _ in other]:
        return False
    gaps = [abs(a[1] - b[1]) for a, b in zip(own, other, strict=True)]
    return all(gap <= ROUNDING for gap in gaps)
