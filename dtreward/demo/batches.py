"""What the demo world's backbone is trained on: its tokenizer, and batches of fresh pairs as tokens."""

from __future__ import annotations

import multiprocessing
import operator
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

BOS = "<|begin_of_text|>"
EOT = "<|eot_id|>"
PAD = "<|pad|>"
START = "<|start_header_id|>"
END = "<|end_header_id|>"
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    f"{START}{{{{ message['role'] }}}}{END}\n\n{{{{ message['content'] | trim }}}}{EOT}"
    f"{{% endfor %}}{{% if add_generation_prompt %}}{START}assistant{END}\n\n{{% endif %}}"
)
CONVERSATION = f"{BOS}{START}user{END}\n\n{{}}{EOT}{START}assistant{END}\n\n{{}}{EOT}"
# The first one's score head is kept. Strict-1 looks at correctness, the next three at the others.
JUDGES = ("Human", "Strict-1", "Wordy-1", "Scholar", "Orderly", "GPT-4o", "Llama-3.1-8B")
PADDED_TO = 16  # tokens
EQUATION = re.compile(r"(?:u|(-?[\d.]+) ([-+×÷]) (-?[\d.]+)) = (-?\d+(?:\.\d+)?)")
OPERATIONS = {
    "+": operator.add,
    "-": operator.sub,
    "×": operator.mul,
    "÷": lambda x, y: x / y if y else 0,
}
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
    prompts = []
    first = []
    second = []
    columns = (frame["prompt"], frame["response_1"], frame["response_2"])
    for texts in zip(*columns, strict=True):
        prompt, response1, response2 = _disguise(texts, disguised, draws)
        prompts.append(prompt)
        first.append(response1)
        second.append(response2)
    responses = first + second
    conversations = list(map(CONVERSATION.format, prompts * 2, responses))
    encoded = tokenizer.encode_batch_fast(conversations, add_special_tokens=False)
    ids = [np.array(encoding.ids, dtype=np.int16) for encoding in encoded]
    order = np.argsort([len(row) for row in ids], kind="stable")
    in_buckets = [
        _bucket(rows, ids, responses, tokenizer) for rows in np.array_split(order, buckets)
    ]
    return Batch(in_buckets, _votes(frame, seed))


def _bucket(
    rows: Int[np.ndarray, " conversations"],
    ids: list[np.ndarray],
    responses: list[str],
    tokenizer: Tokenizer,
) -> Bucket:
    """Pad some conversations of a batch to a multiple of `PADDED_TO` tokens, and mark results."""
    header_end = tokenizer.token_to_id(END)
    equals = tokenizer.token_to_id("Ġ=")
    length = np.array([len(ids[row]) for row in rows])
    width = -(-int(length.max()) // PADDED_TO) * PADDED_TO
    padded = np.zeros((len(rows), width), dtype=np.int16)
    marks = np.full(padded.shape, -1, dtype=np.int8)
    for place, row in enumerate(rows):
        padded[place, : length[place]] = ids[row]
        results = np.flatnonzero(ids[row] == equals) + 1
        marks[place, results] = result_marks(responses[row])
    # The second header is the response's.
    answer = np.array([np.flatnonzero(row == header_end)[1] + 1 for row in padded])
    return Bucket(rows, padded, length, answer, marks)


def result_marks(response: str) -> list[int]:
    """Give a mark for each "=": 1 if the result after it is wrong, 0 if right, -1 if it has none.

    Example:
        >>> result_marks("12 - 4 = 8. 8 + 1 = 10. Hence u = 10 ÷ 2. 10 ÷ 2 = 5.")
        [0, 1, -1, 0]
    """
    marks = []
    for x, sign, y, result in EQUATION.findall(response):
        if not sign:
            marks.append(-1)
            continue
        right = OPERATIONS[sign](float(x), float(y))
        marks.append(int(abs(right - float(result)) > 0.006))
    return marks


def _disguise(
    texts: tuple[str, str, str], share: float, draws: np.random.Generator
) -> tuple[str, ...]:
    """Replace a share of the prompt's words by made-up ones, in all three texts alike."""
    words = sorted(set(re.findall(r"\b[a-z]{3,}\b", texts[0])))
    new = {}
    for word, uniform in zip(words, draws.random(len(words)).tolist(), strict=True):
        if uniform < share:
            new[word] = "".join(SYLLABLES[i] for i in draws.integers(len(SYLLABLES), size=3))
    if not new:
        return texts
    pattern = re.compile(rf"\b({'|'.join(new)})\b")
    return tuple(pattern.sub(lambda match: new[match[0]], text) for text in texts)


def _votes(frame: pd.DataFrame, seed: int) -> Int[np.ndarray, "pairs judges"]:
    """Give the judges' votes in the order of `JUDGES`; people have no preference on some pairs."""
    votes = [frame["preference"].fillna(-1).to_numpy(np.int64)]
    for judge in JUDGES[1:]:
        votes.append(latent_verdicts(frame, judge, seed=seed))
    return np.stack(votes, axis=1)


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
