"""Small extractions of features, and what they wrote."""

from pathlib import Path

from dtreward.engine.backbone import Backbone
from dtreward.engine.features import extract_features
from dtreward.models.loader import load

ARCHITECTURES = ("llama", "gemma2")
CONVERSATIONS = [(f"What is {n} + {n}?", f"It is {2 * n}." * (1 + n % 7)) for n in range(22)]
PACK_TOKENS = 256  # 22 conversations of 46 to 103 tokens: seven packs
SHARD_SIZE = 1  # of packs
SHARDS = [f"{number:05d}.safetensors" for number in range(7)]


def load_backbone(folder: Path, **options) -> Backbone:
    return load(folder, pack_tokens=PACK_TOKENS, **options).backbone


def extract(backbone, folder, conversations=CONVERSATIONS, **options):
    options = {"shard_size": SHARD_SIZE, "progress": False} | options
    return extract_features(backbone, conversations, folder, **options)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def stamps(folder: Path, names=SHARDS) -> dict[str, int]:
    return {name: (folder / name).stat().st_mtime_ns for name in names}


def many() -> list[tuple[str, str]]:
    return [(f"Say it {n} times. " * 20, "It. " * (n + 1)) for n in range(60)]
