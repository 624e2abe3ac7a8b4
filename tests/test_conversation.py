"""Laws of turns and token ids: one BOS or none, and a response that is never cut."""

import dataclasses

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from dtreward.conversation import ChatTokenizer, is_transcript, messages, prompt_text

LLAMA = (
    "{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>"
    "\n\n' + message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}"
)
LLAMA_CONTROL = ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"]
GEMMA_CONTROL = ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"]
WORDS = ["user", "assistant", "model", "two", "and", "is", "four", "system"]


def build(template, control, bos):
    """Every byte is a token, so nothing is unknown; a few words have tokens of their own."""
    vocabulary = {token: i for i, token in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges = []
    for word in WORDS:
        for end in range(2, len(word) + 1):
            if word[:end] not in vocabulary:
                vocabulary[word[:end]] = len(vocabulary)
                merges.append((word[: end - 1], word[end - 1]))
    tokenizer = Tokenizer(BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\w+|\n+|."), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(control)
    if bos:
        # As Llama 3: a plain call adds BOS by itself, which `token_ids` must not double.
        tokenizer.post_processor = TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=bos)
    fast.chat_template = template
    return fast


@pytest.fixture(scope="module")
def llama():
    return build(LLAMA, LLAMA_CONTROL, "<|begin_of_text|>")


@pytest.fixture(scope="module")
def gemma():
    return build(GEMMA, GEMMA_CONTROL, "<bos>")


LLAMA_IDS = (
    *(284, 286, 258, 287, 198, 198, 272, 220, 274, 220, 272, 285),
    *(286, 266, 287, 198, 198, 275, 220, 278, 285),
)
GEMMA_IDS = (
    *(284, 286, 258, 198, 272, 220, 274, 220, 272, 287, 198),
    *(286, 270, 198, 275, 220, 278, 287, 198),
)


def spelled(tokenizer, ids):
    """Tokens as text, with a newline written as Ċ and a space as Ġ (byte-level BPE)."""
    return tokenizer.convert_ids_to_tokens(list(ids))


def test_llama_3_conversation_has_its_golden_ids(llama):
    tokenized = ChatTokenizer(llama).token_ids("two and two\n", "is four")
    assert spelled(llama, tokenized.ids) == [
        *("<|begin_of_text|>", "<|start_header_id|>", "user", "<|end_header_id|>", "Ċ", "Ċ"),
        *("two", "Ġ", "and", "Ġ", "two", "<|eot_id|>"),
        *("<|start_header_id|>", "assistant", "<|end_header_id|>", "Ċ", "Ċ"),
        *("is", "Ġ", "four", "<|eot_id|>"),
    ]
    assert tokenized.ids == LLAMA_IDS
    assert tokenized.cut == 0


def test_gemma_2_conversation_has_its_golden_ids(gemma):
    tokenized = ChatTokenizer(gemma).token_ids("two and two", "is four\n\n")
    assert spelled(gemma, tokenized.ids) == [
        *("<bos>", "<start_of_turn>", "user", "Ċ"),
        *("two", "Ġ", "and", "Ġ", "two", "<end_of_turn>", "Ċ"),
        *("<start_of_turn>", "model", "Ċ", "is", "Ġ", "four", "<end_of_turn>", "Ċ"),
    ]
    assert tokenized.ids == GEMMA_IDS
    assert tokenized.cut == 0


@pytest.mark.parametrize("family", ["llama", "gemma"])
def test_none_differs_from_one_by_the_leading_bos_alone(family, request):
    tokenizer = request.getfixturevalue(family)
    one = ChatTokenizer(tokenizer, bos="one").token_ids("two", "four").ids
    none = ChatTokenizer(tokenizer, bos="none").token_ids("two", "four").ids
    assert one == (tokenizer.bos_token_id, *none)
    assert tokenizer.bos_token_id not in none


def test_a_template_that_writes_bos_twice_still_gives_one(gemma):
    doubled = build("{{ bos_token }}" + GEMMA, GEMMA_CONTROL, "<bos>")
    expected = ChatTokenizer(gemma).token_ids("two", "four")
    assert ChatTokenizer(doubled).token_ids("two", "four") == expected


def test_only_trailing_newlines_are_dropped(llama):
    plain = build(LLAMA.replace(" | trim", ""), LLAMA_CONTROL, "<|begin_of_text|>")
    assert messages(" two \n\n", "\n four\t\n") == [
        {"role": "user", "content": " two "},
        {"role": "assistant", "content": "\n four\t"},
    ]
    tokens = spelled(plain, ChatTokenizer(plain).token_ids("two", "\n four\t\n").ids)
    assert tokens[-5:] == ["Ċ", "Ġ", "four", "ĉ", "<|eot_id|>"]


def test_turns_of_helpsteer2_become_messages():
    prompt = "a\n\n<extra_id_1>Assistant\nb\nb\n<extra_id_1>User\n c\n"
    assert messages(prompt, "d") == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b\nb"},
        {"role": "user", "content": " c"},
        {"role": "assistant", "content": "d"},
    ]


text = st.text(st.characters(codec="utf-8"), min_size=1).filter(
    lambda part: part.strip() and "<extra_id_1>" not in part
)


@given(st.lists(st.tuples(text, text), max_size=4), text, text)
def test_every_conversation_survives_the_helpsteer2_form(earlier, last, response):
    contents = [part for turn in earlier for part in turn] + [last]
    prompt = contents[0]
    for place, content in enumerate(contents[1:]):
        prompt += f"\n<extra_id_1>{('Assistant', 'User')[place % 2]}\n{content}"
    assume(not is_transcript(prompt))  # a text that begins as one is read as one
    found = messages(prompt, response)
    assert [turn["content"] for turn in found] == [c.rstrip("\n") for c in [*contents, response]]
    assert [turn["role"] for turn in found] == ["user", "assistant"] * (len(contents) // 2 + 1)


def chat(*contents, system=""):
    """Chat messages that begin with the user's; a system turn first if there is one."""
    roles = ("user", "assistant")
    turns = [{"role": roles[place % 2], "content": text} for place, text in enumerate(contents)]
    return [{"role": "system", "content": system}, *turns] if system else turns


def test_chat_messages_transcripts_and_helpsteer2_are_read_alike():
    as_messages = chat("a", "b\n\nb", "c")
    as_share_gpt = [
        {"from": "human", "value": "a"},
        {"from": "gpt", "value": "b\n\nb"},
        {"from": "human", "value": "c"},
    ]
    as_parts = chat("a", "b\n\nb", [{"type": "text", "text": "c"}])
    as_transcript = "\n\nHuman: a\n\nAssistant: b\n\nb\n\nHuman: c\n\nAssistant:"
    helpsteer2 = "a\n<extra_id_1>Assistant\nb\n\nb\n<extra_id_1>User\nc"
    expected = messages(helpsteer2, "d")
    for prompt in (as_messages, as_share_gpt, as_parts, as_transcript, as_transcript.strip()):
        assert messages(prompt, "d") == expected
        assert prompt_text(prompt) == helpsteer2
    assert expected[-1] == {"role": "assistant", "content": "d"}
    assert prompt_text(helpsteer2) == helpsteer2
    assert messages("Human: noun or adjective?")[0]["content"].startswith("Human:")


@given(st.lists(st.tuples(text, text), max_size=3), text, st.one_of(st.just(""), text))
def test_chat_messages_survive_as_a_text(earlier, last, system):
    prompt = chat(*(part for turn in earlier for part in turn), last, system=system)
    assume(not any("<extra_id_" in turn["content"] for turn in prompt))
    expected = [turn | {"content": turn["content"].rstrip("\n")} for turn in prompt]
    assert messages(prompt) == messages(prompt_text(prompt)) == expected
    assert messages(prompt_text(prompt), "x")[-1] == {"role": "assistant", "content": "x"}


def test_a_message_that_is_itself_a_transcript_stays_one_message():
    quoted = chat("Human: a\n\nAssistant: b")
    assert messages(quoted) == messages(prompt_text(quoted)) == quoted
    with pytest.raises(ValueError, match="<extra_id_1> or <extra_id_0>, which open turns"):
        prompt_text(chat("a <extra_id_1>Assistant\nb"))


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ([], "an empty list"),
        (["a"], "message 1 of a prompt must be"),
        ([{"role": "tool", "content": "a"}], "turn 1 must be User with text, got 'tool'"),
        (chat("a", "b", "c")[1:], "turn 1 must be User"),
        ([*chat("a"), *chat("b")], "turn 2 must be Assistant"),
        ([*chat("a"), *chat(system="b")], "turn 2 must be Assistant with text, got 'System'"),
        (chat([{"type": "image_url", "image_url": "x"}]), "a message must be a text"),
        ("\n\nHuman: a\n\nHuman: b", "turn 2 must be Assistant"),
    ],
)
def test_messages_that_are_no_conversation_are_named(prompt, said):
    with pytest.raises(ValueError, match=said):
        messages(prompt, "d")


def test_a_system_turn_reaches_the_template(llama, gemma):
    prompt = chat("two", system="four")
    found = spelled(llama, ChatTokenizer(llama).token_ids(prompt, "is").ids)
    header = ["<|start_header_id|>", "system", "<|end_header_id|>", "Ċ", "Ċ", "four", "<|eot_id|>"]
    assert found[1:8] == header
    plain = ChatTokenizer(llama).token_ids("two", "is").ids
    assert found[8:] == spelled(llama, plain[1:])
    # Gemma's template refuses it, and one that drops it would lose it unseen.
    silent = build(
        LLAMA.replace("%}{{ '<|start", "%}{% if message['role'] != 'system' %}{{ '<|start").replace(
            "{% endfor", "{% endif %}{% endfor"
        ),
        LLAMA_CONTROL,
        "<|begin_of_text|>",
    )
    for tokenizer in (gemma, silent):
        folded = ChatTokenizer(tokenizer).token_ids("four\n\ntwo", "is")
        assert ChatTokenizer(tokenizer).token_ids(prompt, "is") == folded


@pytest.mark.parametrize("family", ["llama", "gemma"])
def test_a_cut_leaves_the_system_turn_whole(family, request):
    tokenizer = request.getfixturevalue(family)
    prompt = chat("two and two", system="is four")
    whole = ChatTokenizer(tokenizer).token_ids(prompt, "four").ids
    start = spelled(tokenizer, whole).index("two")
    for cut in (1, 5):
        chat_tokenizer = ChatTokenizer(
            tokenizer, max_length=len(whole) - cut, too_long="cut_prompt_start"
        )
        short = chat_tokenizer.token_ids(prompt, "four")
        assert (short.ids, short.cut) == (whole[:start] + whole[start + cut :], cut)


@pytest.mark.parametrize(
    ("prompt", "response", "said"),
    [
        ("two", "", "turn 2 must be Assistant with text"),
        ("two", " \n", "turn 2 must be Assistant with text"),
        ("two", 4, "turn 2 must be Assistant with text"),
        ("two", float("nan"), "got 'Assistant' with nan"),
        ("", "four", "turn 1 must be User with text"),
        (None, "four", "turn 1 must be User with text"),
        ("a\n<extra_id_1>System\nb", "c", "turn 2 must be Assistant with text, got 'System'"),
        ("a\n<extra_id_1>User\nb", "c", "turn 2 must be Assistant with text, got 'User'"),
        ("a\n<extra_id_1>Assistant\nb", "c", "turn 3 must be User with text, got 'Assistant'"),
        ("a\n<extra_id_1>Assistant\n\n<extra_id_1>User\nb", "c", "got 'Assistant' with '"),
        ("<extra_id_1>User\na", "c", "turn 1 must be User with text, got 'User' with ''"),
        ("a <extra_id_1>", "c", "got ''"),
        ("a", "\ud800", "surrogates not allowed"),
    ],
)
def test_what_cannot_be_read_is_named(prompt, response, said):
    with pytest.raises(ValueError, match=said):
        messages(prompt, response)


def test_a_conversation_needs_a_response(llama):
    assert len(messages("two")) == 1
    with pytest.raises(ValueError, match="turn 2 must be Assistant"):
        ChatTokenizer(llama).token_ids("two", None)


def test_too_long_is_an_error_unless_a_cut_is_chosen(llama):
    whole = ChatTokenizer(llama).token_ids("two and two", "is four").ids
    assert ChatTokenizer(llama, max_length=len(whole)).token_ids("two and two", "is four").cut == 0
    with pytest.raises(ValueError, match=r"2 tokens longer than max_length=19; raise it or set"):
        ChatTokenizer(llama, max_length=len(whole) - 2).token_ids("two and two", "is four")


def test_nobody_is_told_to_raise_max_length_beyond_what_the_model_takes(llama):
    for limit, advice in [(20, 'raise it or set too_long="'), (19, 'takes; set too_long="')]:
        chat = ChatTokenizer(llama, max_length=19, model_limit=limit)
        assert chat.identity == ChatTokenizer(llama, max_length=19).identity
        with pytest.raises(ValueError, match=rf"2 tokens longer than max_length=19.*{advice}cut"):
            chat.token_ids("two and two", "is four")
    for limit, advice in [(20, "raise max_length"), (19, "drop this pair")]:
        chat = ChatTokenizer(llama, "one", 19, "cut_prompt_start", limit)
        with pytest.raises(ValueError, match=f"never cut: {advice} or shorten the response"):
            chat.token_ids("two", "is four " * 9)


@pytest.mark.parametrize("bos", ["one", "none"])
@pytest.mark.parametrize("family", ["llama", "gemma"])
def test_a_cut_takes_the_start_of_the_prompt_and_nothing_else(family, bos, request):
    tokenizer = request.getfixturevalue(family)
    whole = ChatTokenizer(tokenizer, bos=bos).token_ids("two and two", "is four").ids
    prompt_start = spelled(tokenizer, whole).index("two")
    for cut in range(1, 6):
        short = ChatTokenizer(
            tokenizer, bos=bos, max_length=len(whole) - cut, too_long="cut_prompt_start"
        ).token_ids("two and two", "is four")
        assert short.ids == whole[:prompt_start] + whole[prompt_start + cut :]
        assert short.cut == cut
    with pytest.raises(ValueError, match="its prompt has 5; the response is never cut"):
        ChatTokenizer(
            tokenizer, bos=bos, max_length=len(whole) - 6, too_long="cut_prompt_start"
        ).token_ids("two and two", "is four")


@pytest.mark.parametrize("family", ["llama", "gemma"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(text, min_size=2, max_size=4), excess=st.integers(1, 40))
def test_no_cut_reaches_the_response_or_the_header(family, parts, excess, request):
    if len(parts) == 3:
        parts = parts[:2]
    tokenizer = request.getfixturevalue(family)
    *turns, response = parts
    prompt = turns[0]
    for place, content in enumerate(turns[1:]):
        prompt += f"\n<extra_id_1>{('Assistant', 'User')[place % 2]}\n{content}"
    whole = ChatTokenizer(tokenizer).token_ids(prompt, response).ids
    assume(len(whole) > excess)
    chat = ChatTokenizer(tokenizer, max_length=len(whole) - excess, too_long="cut_prompt_start")
    # What stays is what an empty prompt would leave: header, end of turn, response.
    header = 6 if family == "llama" else 4
    tail = len(ChatTokenizer(tokenizer).token_ids("a", response).ids) - header - 1
    if len(whole) - header - tail < excess:
        with pytest.raises(ValueError, match="the response is never cut"):
            chat.token_ids(prompt, response)
        return
    short = chat.token_ids(prompt, response)
    assert (short.cut, len(short.ids)) == (excess, len(whole) - excess)
    assert short.ids == whole[:header] + whole[header + excess :]
    assert short.ids[-tail:] == whole[-tail:]


@pytest.mark.parametrize("response", ["user", "assistant", "eot_id", "two", "\ue000 two \ue000"])
def test_a_response_found_elsewhere_in_the_text_is_not_mistaken(llama, response):
    whole = ChatTokenizer(llama).token_ids("two and two", response).ids
    chat = ChatTokenizer(llama, max_length=len(whole) - 5, too_long="cut_prompt_start")
    assert chat.token_ids("two and two", response).ids == whole[:6] + whole[11:]


@pytest.mark.parametrize("bos", ["one", "none"])
@pytest.mark.parametrize("family", ["llama", "gemma"])
def test_of_a_request_only_the_part_that_may_be_cut_is_cut(family, bos, request):
    tokenizer = request.getfixturevalue(family)
    parts = "is four", " two and two", " and is four"
    chat = ChatTokenizer(tokenizer, bos=bos)
    whole = chat.request_ids(*parts).ids
    assert chat.request_ids("".join(parts)).ids == whole
    start = len(chat.request_ids(parts[0]).ids) - len(chat.request_ids("x").ids) + 1
    start += spelled(tokenizer, whole).index("is")
    for cut in range(1, 13):
        short = dataclasses.replace(chat, max_length=len(whole) - cut, too_long="cut_prompt_start")
        if short_enough := cut <= len(tokenizer(parts[1], add_special_tokens=False)["input_ids"]):
            found = short.request_ids(*parts)
            place = next(k for k in range(len(whole)) if found.ids == whole[:k] + whole[k + cut :])
            kept = tokenizer.decode(whole[:place]), tokenizer.decode(whole[place + cut :])
            assert found.cut == cut and "is four" in kept[0] and kept[1].count("is four") == 1
        else:
            with pytest.raises(ValueError, match="never cut"):
                short.request_ids(*parts)
    assert not short_enough


def test_a_template_that_hides_the_prompt_cannot_be_cut():
    template = "{% for m in messages %}{{ '%05d' % (m['content'] | length) }}{{ m['content'] }}{% endfor %}"
    chat = ChatTokenizer(
        build(template, LLAMA_CONTROL, None), bos="none", max_length=5, too_long="cut_prompt_start"
    )
    with pytest.raises(ValueError, match="hides where the prompt is"):
        chat.token_ids("two and two", "four")


def test_identity_changes_with_all_that_changes_token_ids(llama, gemma):
    chat = ChatTokenizer(llama)
    changed = [
        ChatTokenizer(gemma),
        ChatTokenizer(build(GEMMA, LLAMA_CONTROL, "<|begin_of_text|>")),
        ChatTokenizer(build(LLAMA, [*LLAMA_CONTROL, "<more>"], "<|begin_of_text|>")),
        ChatTokenizer(build(LLAMA, LLAMA_CONTROL, "<|eot_id|>")),
        dataclasses.replace(chat, bos="none"),
        dataclasses.replace(chat, max_length=5),
        dataclasses.replace(chat, too_long="cut_prompt_start"),
    ]
    identities = [tuple(one.identity.items()) for one in [chat, *changed]]
    assert len(set(identities)) == len(identities)
    written = {"tokenizer", "chat_template", "bos", "max_length", "too_long"}
    assert set(chat.identity) == {*written, "rendered", "last_token"}


def test_identity_survives_use_and_rebuilding(llama, tmp_path):
    before = ChatTokenizer(llama).identity
    llama.backend_tokenizer.enable_padding(length=9)
    llama.backend_tokenizer.enable_truncation(3)
    assert ChatTokenizer(llama).identity == before
    rebuilt = build(LLAMA, LLAMA_CONTROL, "<|begin_of_text|>")
    assert ChatTokenizer(rebuilt).identity == before
    rebuilt.save_pretrained(tmp_path)
    loaded = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert ChatTokenizer(loaded).identity == before


def test_truncation_left_on_in_a_tokenizer_file_cuts_nothing(llama):
    expected = ChatTokenizer(llama).token_ids("two and two", "is four")
    short = build(LLAMA, LLAMA_CONTROL, "<|begin_of_text|>")
    short.backend_tokenizer.enable_truncation(3)
    assert ChatTokenizer(short).token_ids("two and two", "is four") == expected


def test_illegal_options_are_named(llama):
    for options, said in [
        ({"bos": "two"}, "bos must be one of"),
        ({"too_long": "cut"}, "too_long must be one of"),
    ]:
        with pytest.raises(ValueError, match=said):
            ChatTokenizer(llama, **options)
    no_bos = build(LLAMA, LLAMA_CONTROL, None)
    with pytest.raises(ValueError, match="tokenizer has no BOS token"):
        ChatTokenizer(no_bos)
    assert ChatTokenizer(no_bos, bos="none").token_ids("two", "four").cut == 0
    with pytest.raises(ValueError, match="no chat template"):
        ChatTokenizer(build(None, LLAMA_CONTROL, "<|begin_of_text|>"))


def test_a_template_that_leaves_out_text_of_a_message_is_refused(llama):
    """Templates of models that think keep only what follows "</think>"."""
    stripping = LLAMA.replace(
        "message['content'] | trim", "message['content'].split('</think>')[-1] | trim"
    )
    chat = ChatTokenizer(build(stripping, LLAMA_CONTROL, "<|begin_of_text|>"))
    plain = ChatTokenizer(llama)
    assert chat.token_ids("two", "is four") == plain.token_ids("two", "is four")
    with pytest.raises(
        ValueError, match=r"leaves out .*turn 2 \(assistant: 'two</think>is four'\)"
    ):
        chat.token_ids("two", "two</think>is four")
    earlier = "two\n<extra_id_1>Assistant\na</think>four\n<extra_id_1>User\nand"
    with pytest.raises(ValueError, match=r"leaves out .*turn 2 "):
        chat.token_ids(earlier, "is four")
    assert plain.token_ids(earlier, "two</think>is four").cut == 0
    with pytest.raises(ValueError, match=r"turn 1 \(user: "):
        chat.request_ids("two</think>", "and")


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("a\n{% for m in messages %}{{ m['content'] }", "line 2 of the tokenizer's chat template"),
        ("{{ raise_exception('no such talk') }}", "refuses this conversation: no such talk"),
        (
            "{{ messages[0]['content'] }}",
            "leaves out text: of 2 turns it writes 1; put the template",
        ),
        ("{% for m in messages[-3:] %}{{ m['content'] }}{% endfor %}", "of 4 turns it writes 3"),
        ("{{ 'a' + 1 }}", r"cannot write this conversation \(TypeError: .*\); put the template"),
    ],
)
def test_a_template_that_cannot_write_a_conversation_is_refused_at_once(template, said):
    with pytest.raises(ValueError, match=said):
        ChatTokenizer(build(template, LLAMA_CONTROL, "<|begin_of_text|>"))


def test_a_template_with_a_date_gives_the_same_ids_every_day():
    dated = "{{ date_string if date_string is defined else strftime_now('%d %b %Y %f') }}" + LLAMA
    tokenizer = build(dated, LLAMA_CONTROL, "<|begin_of_text|>")
    ids = ChatTokenizer(tokenizer).token_ids("two", "four").ids
    assert "26 Jul 2024" in tokenizer.decode(ids)
