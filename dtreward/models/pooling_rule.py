"""Find by a checkpoint's files which token its head was trained to read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import metadata_load

from dtreward.conversation import FIXED_PAIR, ChatTokenizer
from dtreward.models.checkpoint_folder import VALUE_HEAD
from dtreward.models.head_names import OPENRLHF_NAME, class_names
from dtreward.pooling import APPENDED, EOS, LAST, LAST_NOT_PAD, check_rule

RECORDED = "pooling_rule"  # an entry of config.json that whoever knows the rule may write there
APPENDED_TOKEN = "reward_token_id"  # InternLM2's entry of config.json
ATHENE = ("AtheneForSequenceClassification", "CustomAutoModelForSequenceClassification")
EXPORTED = "bos_rule"  # an entry of config.json in checkpoints that this project exports
TRL_TAG = "reward-trainer"  # of model cards that TRL's RewardTrainer writes
# Before it, transformers read the token before the first pad token, and not the last other one.
RIGHTMOST_SINCE = (4, 49)
LONG = 10**6  # tokens; the fixed pair is read whatever the limit is


def find_pooling(
    folder: Path,
    config: Mapping[str, Any],
    chat: ChatTokenizer,
    *,
    asked: str = "",
    known: str = "",
) -> str:
    """Say which token a head reads, as a rule of `dtreward.pooling`.

    Args:
        folder: of the checkpoint; its model card may name the trainer.
        config: the checkpoint's config.json.
        chat: its tokenizer, which reads the last token.
        asked: the caller's rule, which goes before all others.
        known: the rule of the catalogue.

    Raises:
        ValueError: if a rule is not legal or cannot be followed, or if trainers would differ in the
            token and no file says which trainer it was; the message names the option.

    Example:
        >>> from dtreward.models.load_backbone import Checkpoint, LoadOptions, describe
        >>> demo = describe(Checkpoint("data/demo", "demo", ""), LoadOptions(), Path("data/demo"))
        >>> find_pooling(demo.folder, demo.config, demo.chat)
        'last'
    """
    pad = config.get("pad_token_id")
    ids = replace(chat, max_length=LONG).token_ids(*FIXED_PAIR).ids
    if not len(ids):
        raise ValueError(
            f"{folder}: its tokenizer makes no tokens of a conversation; fetch tokenizer.json, too, "
            "or make it of the tokenizer's other files with save_pretrained() of transformers"
        )
    last = ids[-1]
    rule = asked or known or _rule_of_files(folder, config, chat)
    if not rule and pad != last:
        return LAST  # all trainers read the last token, or the one that they put behind it
    if not rule:
        raise ValueError(_question(folder, chat, last))
    if rule == LAST_NOT_PAD:
        return _skip_pads(folder, pad, last)
    check_rule(rule)
    return rule


def _rule_of_files(folder: Path, config: Mapping[str, Any], chat: ChatTokenizer) -> str:
    """Tell the rule by what trainers leave in a checkpoint; "" where nothing tells."""
    if RECORDED in config:
        return str(config[RECORDED])
    if isinstance(config.get(APPENDED_TOKEN), int):
        return f"{APPENDED}:{config[APPENDED_TOKEN]}"
    if any(name in ATHENE for name in class_names(config)):
        return _athenes_rule(folder, chat)
    if OPENRLHF_NAME in config:
        return EOS
    if EXPORTED in config or (folder / VALUE_HEAD).exists():  # LLaMA-Factory reads the last
        return LAST
    if _is_from_trl(folder) and _version(config) >= RIGHTMOST_SINCE:
        return LAST_NOT_PAD
    return ""


def _athenes_rule(folder: Path, chat: ChatTokenizer) -> str:
    """Tell which token Athene puts behind a conversation: its tokenizer's CLS token."""
    token = chat.tokenizer.cls_token_id
    if token is None:
        raise ValueError(
            f"{folder}: its class reads a CLS token behind the conversation, and its tokenizer has "
            'none; pass pooling="appended:ID" with the id of the token that it was trained with'
        )
    return f"{APPENDED}:{token}"


def _is_from_trl(folder: Path) -> bool:
    """Say whether the model card was written by TRL's trainer of reward models."""
    try:
        card = metadata_load(folder / "README.md") or {}
    except Exception:  # noqa: BLE001 (a card may hold anything; it is only a hint)
        return False
    tags = card.get("tags") if isinstance(card, dict) else None
    return isinstance(tags, list) and TRL_TAG in tags


def _version(config: Mapping[str, Any]) -> tuple[int, ...]:
    """Read transformers' version that wrote the configuration: (major, minor)."""
    numbers = re.findall(r"\d+", str(config.get("transformers_version", "")))
    return tuple(map(int, numbers[:2]))


def _skip_pads(folder: Path, pad: Any, last: int) -> str:
    """Complete the rule by the pad token; it is "last" where no response ends in that token."""
    if pad is None:
        raise ValueError(
            f"{folder}: pooling={LAST_NOT_PAD!r} needs the pad token, and config.json has "
            f"none; add pad_token_id there, or pass pooling={LAST!r}"
        )
    return f"{LAST_NOT_PAD}:{pad}" if pad == last else LAST


def _question(folder: Path, chat: ChatTokenizer, last: int) -> str:
    token = chat.tokenizer.convert_ids_to_tokens(last)
    return (
        f"{folder}: its pad token is {token!r}, with which its chat template ends each response, "
        "and trainers differ in what the head then reads. If it was trained with TRL or with a "
        f"sequence classifier of transformers, pass pooling={LAST_NOT_PAD!r}, which leaves pad "
        f"tokens at the end out; if it was trained to read the end of the response, pass "
        f"pooling={LAST!r}. Notebooks take the same word as {RECORDED} from its config.json"
    )
