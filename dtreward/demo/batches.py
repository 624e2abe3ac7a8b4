"""What the demo world's backbone is trained on: its tokenizer, and batches of fresh pairs as tokens."""

from __future__ import annotations

import multiprocessing
import os
import re
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Int, Integer
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from dtreward.demo.families import TRAINING
from dtreward.demo.world import latent_verdicts, make_pairs

BOS, EOT, PAD = "<|begin_of_text|>", "<|eot_id|>", "<|pad|>"
START, END = "<|start_header_id|>", "<|end_header_id|>"
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    f"{START}{{{{ message['role'] }}}}{END}\n\n{{{{ message['content'] | trim }}}}{EOT}"
    f"{{% endfor %}}{{% if add_generation_prompt %}}{START}assistant{END}\n\n{{% endif %}}"
)
CONVERSATION = f"{BOS}{START}user{END}\n\n{{}}{EOT}{START}assistant{END}\n\n{{}}{EOT}"
# The first one's score head is kept. Strict-1 looks at correctness, the next three at the others.
JUDGES = ("Human", "Strict-1", "Wordy-1", "Scholar", "Orderly", "GPT-4o", "Llama-3.1-8B")
EQUATION = re.compile(r"(?:u|(-?[\d.]+) ([-+×÷]) (-?[\d.]+)) = (-?\d+(?:\.\d+)?)")
SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]


def train_tokenizer(*, vocabulary: int = 1400, seed: int = 0) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE on the training families; numbers up to 150 are one token each.

    Example:
        >>> train_tokenizer(vocabulary=1000).tokenize("12 - 4 = 8.")
        ['12', 'Ġ-', 'Ġ4', 'Ġ=', 'Ġ8', '.']
    """
    tokenizer = Tokenizer(models.BPE())
    pieces = Regex(r" ?\p{N}+| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pieces, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    pairs = make_pairs(3000, seed=seed, families=TRAINING)
    written = [*pairs["prompt"], *pairs["response_1"], *pairs["response_2"]]
    numbers = [f"{n} {n}" for n in range(151)] * 1000
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, BOS, EOT, START, END],
        initial_alphabet=sorted(alphabet),
        show_progress=False,
    )
    tokenizer.train_from_iterator(written + numbers, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOT,
        pad_token=PAD,
        chat_template=CHAT_TEMPLATE,
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )


class Bucket(NamedTuple):
    """Conversations of similar length, right-padded: `rows` says which of the batch they are."""

    rows: Int[np.ndarray, " conversations"]
    ids: Integer[np.ndarray, "conversations tokens"]
    length: Int[np.ndarray, " conversations"]
    answer: Int[np.ndarray, " conversations"]  # where the response begins
    marks: Integer[np.ndarray, "conversations tokens"]  # 1 at a wrong result, 0 at a right one, -1


class Batch(NamedTuple):
    """Responses 1 of all pairs, then responses 2; votes are 0, 1 or -1 for none."""

    buckets: list[Bucket]
    votes: Int[np.ndarray, "pairs judges"]


def make_batch(
    tokenizer: Tokenizer, *, pairs: int, buckets: int, disguised: float, seed: int
) -> Batch:
    """Write fresh pairs of the training families, with the judges' votes, as token ids.

    Args:
        disguised: share of a prompt's words that give way to made-up words, in the responses too,
            so that the backbone reads families whose words it has never seen.
    """
    frame = make_pairs(pairs, seed=seed, families=TRAINING)
    draws = np.random.default_rng([seed, 1])
    texts = [*zip(frame["prompt"], frame["response_1"], frame["response_2"], strict=True)]
    texts = [_disguise(text, disguised, draws) for text in texts]
    prompts = [text[0] for text in texts] * 2
    responses = [text[1] for text in texts] + [text[2] for text in texts]
    conversations = list(map(CONVERSATION.format, prompts, responses))
    encoded = tokenizer.encode_batch_fast(conversations, add_special_tokens=False)
    ids = [np.array(encoding.ids, dtype=np.int16) for encoding in encoded]
    end, equals = tokenizer.token_to_id(END), tokenizer.token_to_id("Ġ=")
    order = np.argsort([len(row) for row in ids], kind="stable")
    bucketed = []
    for rows in np.array_split(order, buckets):
        length = np.array([len(ids[row]) for row in rows])
        padded = np.zeros((len(rows), -(-int(length.max()) // 16) * 16), dtype=np.int16)
        marks = np.full(padded.shape, -1, dtype=np.int8)
        for at, row in enumerate(rows):
            padded[at, : length[at]] = ids[row]
            places = np.flatnonzero(ids[row] == equals) + 1
            marks[at, places] = result_marks(responses[row])
        answer = np.array([np.flatnonzero(row == end)[1] + 1 for row in padded])
        bucketed.append(Bucket(rows, padded, length, answer, marks))
    return Batch(bucketed, _votes(frame, seed))


def result_marks(response: str) -> list[int]:
    """One mark for each "=": 1 if the result after it is wrong, 0 if right, -1 if it has none.

    Example:
        >>> result_marks("12 - 4 = 8. 8 + 1 = 10. Hence u = 10 ÷ 2. 10 ÷ 2 = 5.")
        [0, 1, -1, 0]
    """
    marks = []
    for x, sign, y, result in EQUATION.findall(response):
        if not sign:
            marks.append(-1)
            continue
        a, b = float(x), float(y)
        right = {"+": a + b, "-": a - b, "×": a * b, "÷": a / b if b else 0}[sign]
        marks.append(int(abs(right - float(result)) > 0.006))
    return marks


def _disguise(
    texts: tuple[str, str, str], share: float, draws: np.random.Generator
) -> tuple[str, ...]:
    words = sorted(set(re.findall(r"\b[a-z]{3,}\b", texts[0])))
    new = {}
    for word, uniform in zip(words, draws.random(len(words)).tolist(), strict=True):
        if uniform < share:
            new[word] = "".join(SYLLABLES[i] for i in draws.integers(len(SYLLABLES), size=3))
    if not new:
        return texts
    pattern = re.compile(rf"\b({'|'.join(new)})\b")
    return tuple(pattern.sub(lambda found: new[found[0]], text) for text in texts)


def _votes(frame: pd.DataFrame, seed: int) -> Int[np.ndarray, "pairs judges"]:
    decided = frame["preference"].fillna(-1).to_numpy(np.int64)
    return np.stack(
        [decided, *(latent_verdicts(frame, judge, seed=seed) for judge in JUDGES[1:])], axis=1
    )


def _start_worker(tokenizer_json: str) -> None:
    global _tokenizer  # of this worker process alone
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _tokenizer = Tokenizer.from_str(tokenizer_json)


def _work(options: dict) -> Batch:
    return make_batch(_tokenizer, **options)


def batches(
    tokenizer: PreTrainedTokenizerFast,
    steps: int,
    *,
    pairs: int,
    buckets: int,
    disguised: float,
    seed: int,
    workers: int,
) -> Iterator[Batch]:
    """Make so many batches in worker processes, in order, a few ahead."""
    context = multiprocessing.get_context("spawn")
    written = tokenizer.backend_tokenizer.to_str()
    options = {"pairs": pairs, "buckets": buckets, "disguised": disguised}
    with context.Pool(workers, _start_worker, (written,)) as pool:
        ahead = deque()
        for step in range(steps):
            task = options | {"seed": seed * 1_000_000 + step + 1}
            ahead.append(pool.apply_async(_work, (task,)))
            if len(ahead) > 4 * workers:
                yield ahead.popleft().get()
        while ahead:
            yield ahead.popleft().get()
