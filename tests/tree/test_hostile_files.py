"""Files made to harm: nothing in them runs, nothing hangs, memory stays bounded, errors say what is wrong."""

import gzip
import io
import json
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from replicas import make_decision_tree_replica
from safetensors.numpy import save
from sklearn.tree import DecisionTreeClassifier

from dtreward.engine.features import read_features, shard_digest
from dtreward.judges.reading import verdict
from dtreward.judges.reply import read_answer
from dtreward.models.checkpoint import read_head, read_tree
from dtreward.models.checkpoint_folder import read_config, weight_files
from dtreward.models.heads import make_head
from dtreward.study.run import run
from dtreward.study.settings import read_study, study_parameters
from dtreward.tree.tree import PreferenceTree

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


class Harm:
    """What pickle would call when it reads this: it makes the canary."""

    def __init__(self, canary, function=os.system):
        self.call = (
            function,
            ((f"touch {canary}",) if function is os.system else (str(canary), "w")),
        )

    def __reduce__(self):
        return self.call


class HarmByState(Harm):
    """The call comes with the state that BUILD sets."""

    def __reduce__(self):
        return (dict, (), None, None, iter([("key", Harm(self.call[1][0].removeprefix("touch ")))]))


def fitted():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 5))
    return DecisionTreeClassifier(max_depth=2, random_state=0).fit(x, x[:, 0] > 0)


def pickles(canary):
    """At least twenty kinds, each in every protocol that has it."""
    found = {}
    for protocol in PROTOCOLS:
        tree, objects = fitted(), np.array([Harm(canary), None], dtype=object)
        tree.harm = Harm(canary)
        forms = {
            "reduce": Harm(canary),
            "open": Harm(canary, open),
            "in a list": [1, [2, [Harm(canary)]]],
            "as a key's value": {"tree_": Harm(canary)},
            "dict items": HarmByState(canary),
            "beside a tree": tree,
            "numpy objects": objects,
            "a list of trees": [fitted()],
        }
        for name, value in forms.items():
            found[f"{name}, protocol {protocol}"] = pickle.dumps(value, protocol=protocol)
        inner = io.BytesIO()
        np.save(inner, objects, allow_pickle=True)
        found[f"npy, protocol {protocol}"] = inner.getvalue()
    command = f"touch {canary}".encode()
    found |= {
        "INST": b"(S'" + command + b"'\niposix\nsystem\n.",
        "OBJ": b"(cposix\nsystem\nS'" + command + b"'\no.",
        "EXT1": b"\x80\x02\x82\x01.",
        "EXT2": b"\x80\x02\x83\x01\x00.",
        "EXT4": b"\x80\x02\x84\x01\x00\x00\x00.",
        "persistent id": b"Pid\n.",
        "BUILD on a class": b"\x80\x04csklearn.tree._tree\nTree\n}X\x08\x00\x00\x00__init__N\x73b.",
        "memo bomb": b"\x80\x04"
        + b"".join(b"(" + b"h\x00" * 9 + b"t\x94" for _ in range(40))
        + b".",
        "memo of two billion": b"\x80\x02Nr\xff\xff\xff\x7f.",
        "doubling lists": b"\x80\x04]\x94"
        + b"".join(b"](h%ch%ce\x94" % (n, n) for n in range(60))
        + b".",
        "bytes of 2**60": b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b".",
        "text of 2**60": b"\x80\x04\x8d" + struct.pack("<Q", 2**60) + b".",
        "frame of 2**60": b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"N.",
        "number of 2**31 bytes": b"\x80\x02\x8b" + struct.pack("<I", 2**31 - 1) + b".",
        "number of negative length": b"\x80\x02\x8b" + struct.pack("<i", -5) + b".",
        "number of 8 MB": b"\x80\x02\x8b" + struct.pack("<I", 2**23) + b"\xff" * 2**23 + b".",
        "digits of 8 MB": b"I" + b"9" * 2**23 + b"\n.",
        "text of 15 MB": b"\x80\x04X" + struct.pack("<I", 15 * 2**20) + b"a" * 15 * 2**20 + b".",
        "ten million marks": b"\x80\x02" + b"(" * 10**7 + b".",
        "nested tuples": b"\x80\x02)" + b"\x85" * 10**6 + b".",
        "nested lists": b"\x80\x02" + b"](" * 10**6 + b"e" * 10**6 + b".",
    }
    return found


def tree_json(**changes):
    return PreferenceTree.single_split("a", 0.5).to_dict() | changes


def trees():
    good, split, leaf = tree_json(), *tree_json()["nodes"][:2]
    loop = [split | {"left": 1, "right": 2}, split | {"left": 0, "right": 2}, leaf]
    node = {"loop": loop, "self": [split | {"left": 0, "right": 0}, leaf, leaf]}
    node |= {"one child twice": [split | {"left": 1, "right": 1}, leaf, leaf]}
    node |= {"a child too many": [*good["nodes"], leaf], "a child that is not there": [split, leaf]}
    node |= {"a negative child": [split | {"left": -1}, leaf, leaf]}
    node |= {"a huge child": [split | {"left": 10**30}, leaf, leaf]}
    node |= {"a child of 1.0": [split | {"left": 1.0}, leaf, leaf]}
    node |= {"a true child": [split | {"left": True}, leaf, leaf]}
    for name, limit in {
        "nan": np.nan,
        "inf": np.inf,
        "huge": 10**400,
        "text": "0.5",
        "true": True,
    }.items():
        node[f"a threshold of {name}"] = [split | {"threshold": limit}, leaf, leaf]
    node |= {"a value of nan": [leaf | {"value": [np.nan, 1.0], "share": 1.0}]}
    node |= {"values beyond 1": [leaf | {"value": [-1.0, 2.0], "share": 1.0}]}
    found = {name: json.dumps(good | {"nodes": nodes}) for name, nodes in node.items()}
    found |= {"deep": "[" * 10**6, "deep objects": '{"a":' * 10**5 + "1" + "}" * 10**5}
    found |= {"long digits": '{"format": ' + "9" * 10**6 + "}", "half a surrogate": '"\\ud800"'}
    found |= {"no text": "\x00\x01", "another version": json.dumps(good | {"version": 2})}
    found |= {
        "names alike": json.dumps(good | {"attributes": ["a", "a"]}),
        "no names": json.dumps(good | {"attributes": []}),
    }
    return found


def header(text, length=None, tail=b""):
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data) if length is None else length) + data + tail


def entry(start, end, shape=(1, 2), dtype="F32", name="score.weight"):
    return json.dumps({name: {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}})


def shards():
    two = json.dumps(
        {
            name: {"dtype": "F32", "shape": [2], "data_offsets": place}
            for name, place in {"score.weight": [0, 8], "score.bias": [4, 12]}.items()
        }
    )
    whole = save({"score.weight": np.ones((1, 2), np.float32)})
    return {
        "nothing": b"",
        "seven bytes": b"\x01" * 7,
        "a header of 2**63 bytes": header("{}", 2**63),
        "a header of 2**40 bytes": header("{}", 2**40),
        "a header longer than the file": header("{}", 100),
        "no JSON": header("{"),
        "deep": header("[" * 10**5),
        "not an object": header("[1]"),
        "overlapping": header(two, tail=bytes(12)),
        "negative": header(entry(-8, 0), tail=bytes(8)),
        "backwards": header(entry(8, 0), tail=bytes(8)),
        "beyond the end": header(entry(0, 2**40, (2**38,)), tail=bytes(8)),
        "more than a number can count": header(entry(0, 8, (2**40, 2**40)), tail=bytes(8)),
        "wrong length": header(entry(0, 8, (3,)), tail=bytes(8)),
        "no such type": header(entry(0, 8, (1, 2), "PICKLE"), tail=bytes(8)),
        "a hole": header(entry(4, 12), tail=bytes(12)),
        "bytes behind it": whole + b"more",
        "cut off": whole[:-1],
        "a pickle": pickle.dumps({"score.weight": [1.0]}),
        "a zip": b"PK\x03\x04" + bytes(99),
        "no text": header(b'{"\xff": 1}'),
    }


CONFIG = json.dumps({"model_type": "llama", "hidden_size": 2})
CONFIGS = {
    "an array": "[1]",
    "deep": "[" * 10**6,
    "no text": "\udcff",
    "no type": "{}",
    "another type": '{"model_type": "../../llama"}',
    "a list as type": '{"model_type": ["llama"]}',
    "cut off": CONFIG[:-1],
}
INDEXES = {
    "an array": [1],
    "no map": {},
    "a map of nothing": {"weight_map": {}},
    "a list": {"weight_map": ["a"]},
    "out of the folder": {"weight_map": {"score.weight": "../../secret.safetensors"}},
    "an absolute path": {"weight_map": {"score.weight": "/etc/passwd"}},
    "a number": {"weight_map": {"score.weight": 7}},
    "a shard that is not there": {"weight_map": {"score.weight": "model-00001.safetensors"}},
    "the folder itself": {"weight_map": {"score.weight": ".."}},
}


def studies(canary):
    ok = "notebooks: [01_load_pairs]\nparameters: {study: NAME"
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n"
    bomb += "".join(
        f"{n}: &{n} [{','.join([f'*{p}'] * 9)}]\n"
        for p, n in zip("abcdefgh", "bcdefghi", strict=True)
    )
    return {
        "python object": f"x: !!python/object/apply:os.system ['touch {canary}']",
        "python name": "x: !!python/name:os.system",
        "python module": "x: !!python/module:canary_module",
        "alias bomb": bomb,
        "an alias": "a: &a 1\nb: *a",
        "deep": "[" * 3000,
        "no YAML": "a: [",
        "a list": "- 1",
        "a text": "hello",
        "nothing": "",
        "notebooks elsewhere": ok.replace("01_load_pairs", "../../../x") + "}",
        "no such notebook": ok.replace("01_load", "01_steal") + "}",
        "another folder": ok.replace("NAME", "../../x") + "}",
        "another name": ok.replace("NAME", "demo") + "}",
        "no name": "notebooks: []\nparameters: {}",
        "two documents": ok + "}\n---\na: 1",
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """All hostile files in one folder, what a child process with limits says of them, and the canary."""
    home = tmp_path_factory.mktemp("hostile")
    canary, folder = home / "canary", home / "files"
    (home / "canary_module.py").write_text(f"open({str(canary)!r}, 'w')\n")
    folder.mkdir()
    for name, data in pickles(canary).items():
        (folder / f"{name.replace('.', '')}.pkl").write_bytes(data)
    for name, text in trees().items():
        (folder / f"{name}.tree.json").write_text(text)
    for name, text in studies(canary).items():
        (folder / f"{name}.yaml").write_text(text.replace("NAME", name))
    (folder / "a gzip bomb of 100 MB.jsonl.gz").write_bytes(gzip.compress(bytes(100 * 2**20), 9))
    parts = [("model.safetensors", data, f"shard {name}") for name, data in shards().items()]
    parts += [
        ("config.json", text.encode(errors="surrogateescape"), f"config {name}")
        for name, text in CONFIGS.items()
    ]
    index = "model.safetensors.index.json"
    parts += [
        (index, json.dumps(value).encode(), f"index {name}") for name, value in INDEXES.items()
    ]
    for file, data, name in parts:
        (made := folder / f"{name}.checkpoint").mkdir()
        (made / "config.json").write_text(CONFIG)
        (made / file).write_bytes(data)
    paths = os.pathsep.join(map(str, [ROOT, ROOT / "notebooks", home]))
    command = [sys.executable, str(ROOT / "tests" / "hostile_child.py"), str(folder)]
    done = subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout), canary, folder


def test_every_hostile_file_is_refused_by_one_kind_of_error_that_names_it(corpus):
    told = corpus[0]["told"]
    assert len(told) == len(list(corpus[2].iterdir())) > 120
    harmless = {name for name, (kind, *_) in told.items() if not kind}
    assert not harmless, f"read without an error: {sorted(harmless)}"
    wrong = {name: words for name, (kind, *words) in told.items() if kind != "ValueError"}
    assert not wrong
    for name, (_, words, _) in told.items():
        named = str(corpus[2] / name) in words or "expected a study's name" in words
        assert named, (name, words)


def test_nothing_in_a_hostile_file_runs(corpus):
    assert not corpus[1].exists()


def test_no_hostile_file_takes_long_or_much_memory(corpus):
    slow = {name: seconds for name, (*_, seconds) in corpus[0]["told"].items() if seconds > 20}
    assert not slow
    assert corpus[0]["grown_mb"] < 1024


def test_the_harmful_pickles_do_harm_when_pickle_reads_them(tmp_path):
    canary, harmed = tmp_path / "canary", 0
    for data in pickles(canary).values():
        if len(data) < 10_000 and b"touch" in data and not data.startswith(b"\x93NUMPY"):
            pickle.loads(data)
            harmed += canary.exists()
            canary.unlink(missing_ok=True)
    assert harmed >= 30  # the positive control: the same bytes are no dud


# ------------------------------------------------------------------------------------ parameters

BREAKOUTS = [
    "\"; open('CANARY', 'w') #",
    "'; open('CANARY', 'w') #",
    "\\\"; open('CANARY', 'w') #",
    "\n\nopen('CANARY', 'w')\n",
    '"""\nopen(\'CANARY\', \'w\')\n"""',
    "{open('CANARY', 'w')}",
    "\\\nopen('CANARY', 'w') #",
    "\r\nopen('CANARY', 'w')\r\n",
    "\u2028open('CANARY', 'w')",
    "%system touch CANARY",
    "!touch CANARY",
    "$(touch CANARY)",
    "`touch CANARY`",
]


def test_parameters_that_carry_code_stay_texts(tmp_path):
    """All at once through papermill, as strings, in lists and as keys: the notebook gets them back."""
    import nbformat

    canary = tmp_path / "canary"
    told = [text.replace("CANARY", str(canary)) for text in BREAKOUTS]
    parameters = nbformat.v4.new_code_cell('text: str = ""\nlines: list = []\ntable: dict = {}')
    parameters.metadata["tags"] = ["parameters"]
    body = nbformat.v4.new_code_cell("import json\nprint(json.dumps([text, lines, table]))")
    kernel = {"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}
    nbformat.write(
        nbformat.v4.new_notebook(cells=[parameters, body], metadata=kernel), tmp_path / "who.ipynb"
    )
    given = {"text": "".join(told), "lines": told, "table": {text: text for text in told}}
    run(tmp_path / "who.ipynb", tmp_path / "done.ipynb", given)
    output = nbformat.read(tmp_path / "done.ipynb", as_version=4).cells[-1].outputs[0].text
    assert json.loads(output) == list(given.values())
    assert not canary.exists()


@pytest.mark.parametrize(
    "name", ["../../x", "/etc/x", "..", "a/b", "a\\b", "", ".hidden", "x\n", "-rf", "$(x)"]
)
def test_a_study_that_leads_out_of_its_folder_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match="expected a study's name"):
        run(ROOT / "notebooks/01_load_pairs.ipynb", tmp_path / "x" / "done.ipynb", {"study": name})
    assert not list(tmp_path.iterdir())


def test_the_report_of_such_a_study_is_refused_too(tmp_path):
    command = [sys.executable, "-m", "dtreward.cli", "report", "../../x"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2 and "'../../x'" in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("limit", "3; touch x", "a whole number"), ("limit", 2.5, "a whole number"),
        ("limit", True, "a whole number"), ("limit", None, "a whole number"),
        ("source", ["a"], "a text"), ("source", 5, "a text"), ("attributes", "a,b", "a list"),
    ],
)  # fmt: skip
def test_a_parameter_of_another_type_is_refused_by_name(name, value, kind):
    study = {"notebooks": ["01_load_pairs"]}
    with pytest.raises(ValueError, match=f"01_load_pairs: expected {name} as {kind}, came"):
        study_parameters(study, {name: value})


def test_the_projects_own_studies_are_read(root):
    for path in (root / "notebooks" / "studies").glob("*.yaml"):
        assert read_study(path)["parameters"]["study"] == path.stem


# ------------------------------------------------------------------------------------------ fuzz

FUZZ = settings(deadline=None, suppress_health_check=list(HealthCheck))
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=6),
    st.sampled_from(["llama", "gemma2", "F32", "score.weight", "A", "B", 10**400]),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def replica(tmp_path_factory):
    make_decision_tree_replica(folder := tmp_path_factory.mktemp("replica") / "model", "llama")
    return folder, json.loads((folder / "config.json").read_text())


@FUZZ
@given(
    st.dictionaries(
        st.sampled_from(["id2label", "hidden_size", "num_objectives", "num_quantiles", "x"]), values
    ),
    st.data(),
)
def test_any_configuration_gives_the_right_head_or_a_value_error(replica, changes, data):
    folder, config = replica
    config = config | changes
    for key in data.draw(st.lists(st.sampled_from(sorted(config)), max_size=2)):
        config.pop(key, None)
    (folder / "config.json").write_text(json.dumps(config))
    try:
        read = read_config(folder)
        head = make_head(tensors := read_head(weight_files(folder)), read)
    except ValueError:
        return
    assert len(head.attributes) == len(tensors["score.weight"]) == len(set(head.attributes))
    assert head.score.weight.equal(tensors["score.weight"])


@FUZZ
@given(st.data())
def test_a_damaged_shard_gives_tensors_of_its_own_bytes_or_a_value_error(replica, data):
    whole = save(
        {
            "score.weight": np.arange(10, dtype=np.float32).reshape(5, 2),
            "score.bias": np.ones(5, np.float32),
        }
    )
    content = bytearray(whole)
    for place, byte in data.draw(
        st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=4)
    ):
        content[place] = byte
    (folder := replica[0].parent / "damaged").mkdir(exist_ok=True)
    (folder / "model.safetensors").write_bytes(
        content[: data.draw(st.integers(len(whole) - 3, len(whole)))]
    )
    try:
        head = read_head(weight_files(folder))
    except ValueError:
        return
    assert sum(each.numel() for each in head.values()) * 2 <= len(content)


@FUZZ
@given(values)
def test_any_reply_of_an_endpoint_is_an_answer_or_an_error_that_is_caught(reply):
    """`_send` takes any exception of `_answer` for a broken reply; an answer is plain and bounded."""
    for body in (
        reply,
        {
            "choices": [{"message": {"content": reply}, "logprobs": reply}],
            "usage": {"total_tokens": reply},
        },
    ):
        try:
            state, text, _, _, tokens = read_answer(body, "question")
        except Exception:  # noqa: BLE001, S112
            continue
        assert state in ("answer", "refused") and isinstance(text, str) and tokens >= 0


@FUZZ
@given(
    st.text(max_size=60)
    | st.sampled_from(["A", "**B**", "Response A", "I'm sorry"]).flatmap(
        lambda a: st.text(max_size=8).map(lambda b: a + b)
    )
)
def test_a_verdict_needs_a_letter_that_stands_alone(text):
    found = verdict(text)
    assert found in ("A", "B", "refused", "unparsed")
    assert found not in "AB" or found in text.upper()


@FUZZ
@given(values)
def test_any_json_is_a_tree_that_decides_or_a_value_error(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "fuzzed.json"
    for data in (value, tree_json(nodes=value), tree_json(attributes=value)):
        path.write_text(json.dumps(data))
        try:
            tree = PreferenceTree.load(path)
        except ValueError:
            continue
        assert np.isfinite(tree.probability(np.zeros((1, len(tree.attributes))))).all()


@FUZZ
@given(st.sampled_from(PROTOCOLS), st.data())
def test_a_pickle_of_any_protocol_with_other_bytes_is_a_tree_or_a_value_error(
    tmp_path_factory, protocol, data
):
    content = bytearray(pickle.dumps(fitted(), protocol=protocol))
    for place, piece in data.draw(
        st.lists(
            st.tuples(st.integers(0, len(content)), st.binary(min_size=1, max_size=4)), max_size=4
        )
    ):
        content[place : place + data.draw(st.integers(0, 4))] = piece
    path = tmp_path_factory.getbasetemp() / "fuzzed.pkl"
    path.write_bytes(content)
    try:
        tree = PreferenceTree.from_pickle(path, attributes=list("abcde"))
    except ValueError:
        return
    assert ((tree.value >= 0) & (tree.value <= 1)).all()


@FUZZ
@given(values)
def test_any_tree_file_of_a_checkpoint_is_read_or_refused(replica, value):
    (folder := replica[0].parent / "treed").mkdir(exist_ok=True)
    (folder / "decision_tree.json").write_text(json.dumps(value))
    with pytest.raises(ValueError, match=r"decision_tree\.json"):
        read_tree(folder, ("a",))


@FUZZ
@given(
    st.text(max_size=40)
    | st.builds(lambda value: json.dumps({"notebooks": [], "parameters": value}), values)
)
def test_any_yaml_is_a_study_or_a_value_error(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(ValueError, match=r"fuzzed\.yaml|expected a study's name"):
        read_study(Path(path))


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    """Features on disk as extract_features leaves them: the folder, its manifest and one of two shards."""
    folder, key = tmp_path_factory.mktemp("features"), {"conversations": "c"}
    manifest = {"bit_for_bit": True, "rows": 4, "hidden": 2, "key": key, "shards": {}}
    for name, rows in {"00000.safetensors": [0, 2], "00001.safetensors": [3, 1]}.items():
        tensors = {"features": np.float32([rows, rows]).T, "rows": np.int64(rows)}
        manifest["shards"][name] = shard_digest(**tensors, key=key)
        (folder / name).write_bytes(save(tensors, {"digest": manifest["shards"][name]}))
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder, manifest, (folder / "00001.safetensors").read_bytes()


@FUZZ
@given(
    st.dictionaries(st.sampled_from(["rows", "hidden", "key", "shards", "x"]), values), st.data()
)
def test_any_manifest_and_shard_give_the_features_or_an_error(features, changes, data):
    folder, manifest, shard = features
    content = bytearray(shard)
    edits = st.lists(st.tuples(st.integers(0, len(shard) - 1), st.integers(0, 255)), max_size=2)
    for place, byte in data.draw(edits):
        content[place] = byte
    (folder / "00001.safetensors").write_bytes(content)
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))
    try:
        found = read_features(folder)
    except (ValueError, MemoryError):
        return
    assert found.tolist() == [[0, 0], [1, 1], [2, 2], [3, 3]] or len(found) == 0
