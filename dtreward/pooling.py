"""Which token of a conversation a head reads. Each rule ends the token ids so that it is the last."""

from __future__ import annotations

import re
from difflib import get_close_matches

LAST = "last"
LAST_NOT_PAD = "last_not_pad"
EOS = "eos"
APPENDED = "appended"
NAMES = (LAST, LAST_NOT_PAD, EOS, f"{APPENDED}:ID")
NO_EOS = (
    "pooling 'eos' reads the end-of-sequence token, and the tokenizer has none; give another one"
)
RULE = re.compile(rf"{LAST}|{EOS}|({LAST_NOT_PAD}|{APPENDED}):(\d+)")


def check_rule(rule: str) -> None:
    """Refuse what is no rule.

    - "last": the last token that the chat template writes.
    - "last_not_pad:ID": the last token that is not ID, the pad token. Sequence classifiers of
      transformers and TRL's trainer read there; it is another token than the last where a
      response's end is also used as padding.
    - "eos": the end-of-sequence token, which OpenRLHF puts at the end if the template does not.
    - "appended:ID": the token ID, put behind the last (InternLM2 and Athene).

    Raises:
        ValueError: naming the rules.

    Example:
        >>> check_rule("appended:92527")
        >>> check_rule("append:92527")
        Traceback (most recent call last):
        ...
        ValueError: pooling must be one of last, last_not_pad, eos, appended:ID, came \
'append:92527'; did you mean 'appended:92527'?
    """
    if RULE.fullmatch(str(rule)):
        return
    word, colon, token = str(rule).partition(":")
    near = get_close_matches(word.lower(), [name.partition(":")[0] for name in NAMES], 1)
    hint = f"; did you mean {near[0] + colon + token!r}?" if near and near[0] != word else ""
    raise ValueError(f"pooling must be one of {', '.join(NAMES)}, came {rule!r}{hint}")


def end_text(text: str, rule: str, eos: str | None) -> str:
    r"""End a rendered conversation as the rule needs it.

    Source of "eos": OpenRLHF, openrlhf/datasets/reward_dataset.py.

    Args:
        eos: the tokenizer's end-of-sequence token.

    Example:
        >>> end_text("Eight.<|im_end|>\n", "eos", "<|im_end|>")
        'Eight.<|im_end|>'
        >>> end_text("Eight.<end_of_turn>\n", "eos", "<eos>")
        'Eight.<end_of_turn> <eos>'
    """
    if rule != EOS:
        return text
    if not eos:
        raise ValueError(NO_EOS)
    text = text.rstrip("\n")
    return text if text.endswith(eos) else f"{text} {eos}"


def end_ids(ids: list[int], rule: str, eos_id: int | None) -> list[int]:
    """End token ids as the rule needs it.

    Raises:
        ValueError: if the conversation has nothing but pad tokens, or the tokenizer lacks the token.

    Example:
        >>> end_ids([5, 6, 2, 2], "last_not_pad:2", 2)
        [5, 6]
        >>> end_ids([5, 6], "appended:9", 2), end_ids([5, 6], "eos", 2)
        ([5, 6, 9], [5, 2])
    """
    name, _, token = rule.partition(":")
    if name == APPENDED:
        return [*ids, int(token)]
    if name == EOS:
        if eos_id is None:
            raise ValueError(NO_EOS)
        return [*ids[:-1], eos_id]
    if name == LAST_NOT_PAD:
        kept = len(ids)
        while kept and ids[kept - 1] == int(token):
            kept -= 1
        if not kept:
            raise ValueError(f"the conversation has no token but the pad token {token}")
        return ids[:kept]
    return ids
