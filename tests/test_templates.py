"""What each family's chat template does to a fixed pair: written text, BOS, and the token at the end.

The templates are of our own making. They behave as those that the families publish: what they add,
leave out, fold or refuse.
"""

from dataclasses import dataclass

import pytest
from test_conversation import build

from dtreward.conversation import DATE, ChatTokenizer, without_later_entries

QUESTION = "two and two"
ANSWER = "is four"
DAY = DATE.strftime("%d %b %Y")
EACH = "{% for m in messages %}"
END = "{% endfor %}"
IM_TURN = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
HEADER_TURN = "<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>"
SYSTEM_FIRST = "{% if messages[0].role == 'system' %}"
# Qwen3's: the last answer opens with an empty thought, earlier ones lose theirs.
THINKING = (
    "{% for m in messages %}{% set said = m.content.split('</think>')[-1].lstrip('\n') %}"
    "<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n"
    "{% endif %}{{ said }}<|im_end|>\n{% endfor %}"
)
GEMMA_TURN = (
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content | trim }}<end_of_turn>\n"
)
MISTRAL = (
    "{{ bos_token }}{% set words = namespace(system='') %}{% for m in messages %}"
    "{% if m.role == 'system' %}{% set words.system = m.content + '\n\n' %}"
    "{% elif m.role == 'user' %}"
    "[INST] {{ words.system if loop.index >= loop.length - 1 }}{{ m.content }}[/INST]"
    "{% else %} {{ m.content }}</s>{% endif %}{% endfor %}"
)


@dataclass(frozen=True)
class Family:
    """A family's template and special tokens, and what it must make of a pair.

    Attributes:
        text: of question and answer.
        system: of the same with the system turn "user".
        last: token whose state is read.
    """

    template: str
    control: tuple[str, ...]
    bos: str | None
    text: str
    system: str
    last: str


def im(role, text):
    """Write a turn of ChatML."""
    return f"<|im_start|>{role}\n{text}<|im_end|>\n"


def header(role, text):
    """Write a turn of Llama 3."""
    return f"<|start_header_id|>{role}<|end_header_id|>\n\n{text}<|eot_id|>"


def gemma(role, text):
    """Write a turn of Gemma."""
    return f"<start_of_turn>{role}\n{text}<end_of_turn>\n"


IM = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
HEADERS = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
GEMMA = ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>")
LLAMA_PAIR = header("user", QUESTION) + header("assistant", ANSWER)
IM_PAIR = im("user", QUESTION) + im("assistant", ANSWER)
THOUGHT_PAIR = im("user", QUESTION) + im("assistant", f"<think>\n\n</think>\n\n{ANSWER}")
GEMMA_PAIR = gemma("user", QUESTION) + gemma("model", ANSWER)
DATED = "Date: {{ %s }}"
LLAMA_31 = (
    "{{ bos_token }}{% if not date_string is defined %}{% set date_string = 'unknown' %}{% endif %}"
    "{% set first = messages[0].role == 'system' %}"
    "<|start_header_id|>system<|end_header_id|>\n\nDate: {{ date_string }}"
    "{{ '\n' + messages[0].content if first }}<|eot_id|>"
    "{% for m in (messages[1:] if first else messages) %}" + HEADER_TURN + END
)
LLAMA_32 = LLAMA_31.replace(
    "{% if not date_string is defined %}{% set date_string = 'unknown' %}{% endif %}",
    "{% if strftime_now is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}",
)
FAMILIES = {
    "Llama 3": Family(
        "{{ bos_token }}" + EACH + HEADER_TURN + END,
        HEADERS,
        HEADERS[0],
        HEADERS[0] + LLAMA_PAIR,
        HEADERS[0] + header("system", "user") + LLAMA_PAIR,
        "<|eot_id|>",
    ),
    "Llama 3.1, dated": Family(
        LLAMA_31,
        HEADERS,
        HEADERS[0],
        HEADERS[0] + header("system", f"Date: {DAY}") + LLAMA_PAIR,
        HEADERS[0] + header("system", f"Date: {DAY}\nuser") + LLAMA_PAIR,
        "<|eot_id|>",
    ),
    "Llama 3.2, today": Family(
        LLAMA_32,
        HEADERS,
        HEADERS[0],
        HEADERS[0] + header("system", f"Date: {DAY}") + LLAMA_PAIR,
        HEADERS[0] + header("system", f"Date: {DAY}\nuser") + LLAMA_PAIR,
        "<|eot_id|>",
    ),
    "Qwen 2.5, a system turn of its own": Family(
        SYSTEM_FIRST + "{% else %}<|im_start|>system\nfour<|im_end|>\n{% endif %}" + EACH + IM_TURN
        + END,
        IM,
        None,
        im("system", "four") + IM_PAIR,
        im("system", "user") + IM_PAIR,
        "Ċ",
    ),
    "Qwen 3, an empty thought": Family(
        THINKING, IM, None, THOUGHT_PAIR, im("system", "user") + THOUGHT_PAIR, "Ċ"
    ),
    "Qwen 3 2507": Family(
        EACH + IM_TURN + END, IM, None, IM_PAIR, im("system", "user") + IM_PAIR, "Ċ"
    ),
    "Gemma, refuses a system turn": Family(
        "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}"
        "{% endif %}" + EACH + GEMMA_TURN + END,
        GEMMA,
        "<bos>",
        "<bos>" + GEMMA_PAIR,
        "<bos>" + gemma("user", f"user\n\n{QUESTION}") + gemma("model", ANSWER),
        "Ċ",
    ),
    "Gemma 3, folds a system turn": Family(
        "{{ bos_token }}{% set first = messages[0].content + '\n\n' if messages[0].role == 'system' "
        "else '' %}{% for m in (messages[1:] if first else messages) %}"
        "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
        "{{ first if loop.first }}{{ m.content | trim }}<end_of_turn>\n{% endfor %}",
        GEMMA,
        "<bos>",
        "<bos>" + GEMMA_PAIR,
        "<bos>" + gemma("user", f"user\n\n{QUESTION}") + gemma("model", ANSWER),
        "Ċ",
    ),
    "Mistral": Family(
        MISTRAL,
        ("<s>", "</s>", "[INST]", "[/INST]"),
        "<s>",
        f"<s>[INST] {QUESTION}[/INST] {ANSWER}</s>",
        f"<s>[INST] user\n\n{QUESTION}[/INST] {ANSWER}</s>",
        "</s>",
    ),
    "Phi 3, closes with another token": Family(
        EACH + "<|{{ m.role }}|>\n{{ m.content }}<|end|>\n" + END
        + "{% if not add_generation_prompt %}{{ eos_token }}{% endif %}",
        ("<s>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>", "<|endoftext|>"),
        "<s>",
        f"<|user|>\n{QUESTION}<|end|>\n<|assistant|>\n{ANSWER}<|end|>\n<|endoftext|>",
        "<|system|>\nuser<|end|>\n"
        f"<|user|>\n{QUESTION}<|end|>\n<|assistant|>\n{ANSWER}<|end|>\n<|endoftext|>",
        "<|endoftext|>",
    ),
    "OLMo 2, BOS is also the end": Family(
        "{{ bos_token }}" + EACH + "<|{{ m.role }}|>\n{{ m.content }}"
        "{{ eos_token if m.role == 'assistant' }}{{ '\n' if not loop.last }}" + END,
        ("<|endoftext|>", "<|user|>", "<|assistant|>", "<|system|>"),
        "<|endoftext|>",
        f"<|endoftext|><|user|>\n{QUESTION}\n<|assistant|>\n{ANSWER}<|endoftext|>",
        f"<|endoftext|><|system|>\nuser\n<|user|>\n{QUESTION}\n<|assistant|>\n{ANSWER}<|endoftext|>",
        "<|endoftext|>",
    ),
    "SmolLM 3, a dated system turn": Family(
        "<|im_start|>system\n" + DATED % 'strftime_now("%d %B %Y")'
        + "{{ '\n' + messages[0].content if messages[0].role == 'system' }}<|im_end|>\n" + EACH
        + "{% if m.role != 'system' %}" + IM_TURN + "{% endif %}" + END,
        IM,
        None,
        im("system", "Date: 26 July 2024") + IM_PAIR,
        im("system", "Date: 26 July 2024\nuser") + IM_PAIR,
        "Ċ",
    ),
    "Granite, dated where there is no system turn": Family(
        SYSTEM_FIRST + "{% else %}<|role|>system<|of|>" + DATED % "strftime_now('%B %d, %Y')"
        + "<|end_of_text|>\n{% endif %}" + EACH
        + "<|role|>{{ m.role }}<|of|>{{ m.content }}<|end_of_text|>\n" + END,
        ("<|end_of_text|>", "<|role|>", "<|of|>"),
        "<|end_of_text|>",
        "<|role|>system<|of|>Date: July 26, 2024<|end_of_text|>\n"
        f"<|role|>user<|of|>{QUESTION}<|end_of_text|>\n"
        f"<|role|>assistant<|of|>{ANSWER}<|end_of_text|>\n",
        f"<|role|>system<|of|>user<|end_of_text|>\n<|role|>user<|of|>{QUESTION}<|end_of_text|>\n"
        f"<|role|>assistant<|of|>{ANSWER}<|end_of_text|>\n",
        "Ċ",
    ),
    "GLM 4, no token at the end": Family(
        "[gMASK]<sop>" + EACH + "<|{{ m.role }}|>\n{{ m.content }}" + END,
        ("[gMASK]", "<sop>", "<|user|>", "<|assistant|>", "<|system|>"),
        None,
        f"[gMASK]<sop><|user|>\n{QUESTION}<|assistant|>\n{ANSWER}",
        f"[gMASK]<sop><|system|>\nuser<|user|>\n{QUESTION}<|assistant|>\n{ANSWER}",
        "four",
    ),
    "Cohere 2": Family(
        "{{ bos_token }}" + EACH + "<|START|><|{{ m.role | upper }}|>{{ m.content }}<|END|>" + END,
        ("<BOS_TOKEN>", "<|START|>", "<|END|>", "<|USER|>", "<|ASSISTANT|>", "<|SYSTEM|>"),
        "<BOS_TOKEN>",
        f"<BOS_TOKEN><|START|><|USER|>{QUESTION}<|END|><|START|><|ASSISTANT|>{ANSWER}<|END|>",
        "<BOS_TOKEN><|START|><|SYSTEM|>user<|END|>"
        f"<|START|><|USER|>{QUESTION}<|END|><|START|><|ASSISTANT|>{ANSWER}<|END|>",
        "<|END|>",
    ),
}  # fmt: skip
each_family = pytest.mark.parametrize("name", FAMILIES)


def make_chat(family):
    """Make a chat tokenizer as `load` does: one BOS where the tokenizer has one."""
    tokenizer = build(family.template, list(family.control), family.bos)
    tokenizer.eos_token = family.control[-1] if "Phi" in family.control else family.control[0]
    if "<|endoftext|>" in family.control:
        tokenizer.eos_token = "<|endoftext|>"
    return ChatTokenizer(tokenizer, bos="one" if family.bos else "none")


def decoded(chat, prompt, response=ANSWER):
    """Give the text of a conversation's token ids."""
    return chat.tokenizer.decode(list(chat.token_ids(prompt, response).ids))


def with_one_bos(family, text):
    """Give the text with exactly one BOS in front, or none."""
    return (family.bos or "") + text.removeprefix(family.bos or "")


@each_family
def test_a_pair_has_its_family_s_text_one_bos_or_none_and_its_last_token(name):
    family = FAMILIES[name]
    chat = make_chat(family)
    assert decoded(chat, QUESTION) == with_one_bos(family, family.text)
    ids = chat.token_ids(QUESTION, ANSWER).ids
    assert chat.tokenizer.convert_ids_to_tokens(ids[-1]) == family.last
    if family.bos:
        assert ids[0] == chat.tokenizer.bos_token_id != ids[1]
    else:
        assert chat.tokenizer.bos_token_id is None


@each_family
def test_a_system_turn_stands_where_its_family_puts_it(name):
    family = FAMILIES[name]
    prompt = [{"role": "system", "content": "user"}, {"role": "user", "content": QUESTION}]
    assert decoded(make_chat(family), prompt) == with_one_bos(family, family.system)


@each_family
def test_the_text_of_a_fixed_pair_and_its_last_token_are_part_of_the_identity(name):
    family = FAMILIES[name]
    identity = make_chat(family).identity
    for text in ("How many apples are left?", "Three apples are left."):
        assert text in identity["rendered"]
    last = "." if family.last == "four" else family.last
    assert identity["last_token"] == last
    earlier = without_later_entries(identity)
    assert set(identity) - set(earlier) == {"rendered", "last_token"}
    assert earlier.items() <= identity.items()


def test_a_longer_talk_keeps_its_system_turn_in_the_last_question_as_mistral_does():
    chat = make_chat(FAMILIES["Mistral"])
    turns = [("system", "model"), ("user", "two"), ("assistant", "and"), ("user", "four")]
    prompt = [{"role": role, "content": text} for role, text in turns]
    wanted = "<s>[INST] two[/INST] and</s>[INST] model\n\nfour[/INST] is four</s>"
    assert decoded(chat, prompt) == wanted


def test_an_earlier_thought_that_qwen_3_drops_is_refused():
    chat = make_chat(FAMILIES["Qwen 3, an empty thought"])
    turns = [("user", "two"), ("assistant", "a</think>four"), ("user", "and")]
    prompt = [{"role": role, "content": text} for role, text in turns]
    with pytest.raises(ValueError, match=r"leaves out or changes text of turn 2"):
        chat.token_ids(prompt, ANSWER)


def test_a_date_that_cannot_be_fixed_is_refused():
    hidden = "{% set form = '%d %b %Y' %}{{ strftime_now(form) }}" + EACH + IM_TURN + END
    with pytest.raises(ValueError, match="from day to day; write a date into the template"):
        ChatTokenizer(build(hidden, list(IM), None), bos="none")
