"""Read the arrays of a pickled scikit-learn decision tree without executing what it names.

The opcodes are checked first, and every name against a list. What then comes of a name is a
stand-in that only notes down its arguments and state: no class or function of numpy or
scikit-learn is imported or called for the file. The arrays are decoded from these notes.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any

import numpy as np

MAX_BYTES = 2**24  # a tree of depth 3 takes 3 KB
CLASSIFIER, TREE = "sklearn.tree._classes DecisionTreeClassifier", "sklearn.tree._tree Tree"
NAMES = {CLASSIFIER, TREE, "numpy dtype", "numpy ndarray", "_codecs encode"}
for _core in ("numpy.core", "numpy._core"):  # before and since numpy 2
    NAMES |= {f"{_core}.multiarray {name}" for name in ("_reconstruct", "scalar")}
    NAMES |= {f"{_core}.numeric _frombuffer"}
SHARED = {"GLOBAL", "STACK_GLOBAL", "REDUCE", "NEWOBJ", "BINUNICODE", "SHORT_BINUNICODE"}
SHARED |= {"BINBYTES", "SHORT_BINBYTES"}  # names, text, what a call gave: may be used again
OPCODES = SHARED | {"PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BINFLOAT"}
OPCODES |= {"BININT", "BININT1", "BININT2", "LONG1", "BYTEARRAY8", "EMPTY_TUPLE", "EMPTY_LIST"}
OPCODES |= {"EMPTY_DICT", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "APPEND", "APPENDS", "SETITEM"}
OPCODES |= {"SETITEMS", "BUILD", "BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET"}
NUMBERS = {"i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8", "b1"}
FIELDS = [(side, "<i8") for side in ("left_child", "right_child", "feature")]
FIELDS += [("threshold", "<f8"), ("impurity", "<f8"), ("n_node_samples", "<i8")]
FIELDS += [("weighted_n_node_samples", "<f8"), ("missing_go_to_left", "u1")]
NODES = (np.dtype(FIELDS, align=True), np.dtype(FIELDS[:-1]))  # since scikit-learn 1.3, before


def read_nodes(data: bytes, attributes: int) -> tuple[np.ndarray, np.ndarray]:
    """Decode the nodes and values of a pickled DecisionTreeClassifier of two classes.

    The pickle is of protocol 2 to 5, plain, by scikit-learn 1.0 or later, of a tree fitted on so
    many attributes; the values are class fractions or counts, shape (nodes, 1, 2). Damage may
    raise any kind of Exception; the caller makes one of them.
    """
    fitted = _noted(_read_inert(data), CLASSIFIER).state
    classes, tree = _array(fitted["classes_"]).tolist(), _noted(fitted["tree_"], TREE)
    if classes not in ([0, 1], [-1, 1]):
        raise ValueError(f"expected the classes 0 and 1, or -1 and 1; found {classes!r:.100}")
    if tree.arguments[0] != attributes:
        raise ValueError(f"it has {tree.arguments[0]!r:.20} features, you named {attributes}")
    nodes, values = _array(tree.state["nodes"]), _array(tree.state["values"])
    if nodes.dtype not in NODES or values.shape != (len(nodes), 1, 2) or values.dtype != "f8":
        raise ValueError(f"expected nodes with two fractions each; found {values.shape}")
    return nodes, values


class _StandIn:
    name = ""
    arguments: tuple = ()
    state: Any = None

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _InertUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        if f"{module} {name}" not in NAMES:
            raise ValueError(f"found {module:.80}.{name:.80}, which no such tree needs")
        return type("StandIn", (_StandIn,), {"name": f"{module} {name}".replace("_core", "core")})


def _read_inert(data: bytes) -> Any:
    if len(data) > MAX_BYTES:
        raise ValueError(f"expected at most {MAX_BYTES:,} bytes, found more")
    memo: dict[int, str] = {}
    before = ""
    for opcode, argument, position in pickletools.genops(data):
        name, number = opcode.name, len(memo) if argument is None else argument
        if name not in OPCODES or (name == "LONG_BINPUT" and number > len(data)):
            raise ValueError(f"found the opcode {name} at byte {position}, which no tree needs")
        if name == "GLOBAL" and argument not in NAMES:
            raise ValueError(f"found {argument:.160}, which no such tree needs")
        if name.endswith("PUT") or name == "MEMOIZE":
            memo[number] = before
        # a tuple used again could hold itself, or tuples of tuples whose hash takes for ever
        elif name.endswith("GET") and memo.get(number) not in SHARED:
            raise ValueError(f"found a container used again at byte {position}")
        before = name
    if position + 1 != len(data):
        raise ValueError(f"found {len(data) - position - 1} more bytes after its end")
    return _InertUnpickler(io.BytesIO(data)).load()


def _noted(found: Any, name: str) -> _StandIn:
    if not isinstance(found, _StandIn) or found.name != name:
        came = found.name if isinstance(found, _StandIn) else f"a {type(found).__name__}"
        raise ValueError(f"expected {name}, found {came}")
    return found


def _array(found: Any) -> np.ndarray:
    if isinstance(found, _StandIn) and found.name == "numpy.core.numeric _frombuffer":
        data, dtype, shape, order = found.arguments  # protocol 5
    else:
        noted = _noted(found, "numpy.core.multiarray _reconstruct")
        _, shape, dtype, fortran, data = noted.state
        order = "F" if fortran else "C"
    if isinstance(data, _StandIn):  # protocol 2
        data = _noted(data, "_codecs encode").arguments[0].encode("latin1")
    return np.frombuffer(data, _dtype(dtype)).reshape(shape, order=order)


def _dtype(found: Any) -> np.dtype:
    _, _, _, names, fields, size, *_ = _noted(found, "numpy dtype").state
    if names is None:
        return _number(found)
    layout = {"names": list(names), "offsets": [fields[name][1] for name in names]}
    formats = [_number(fields[name][0]) for name in names]
    return np.dtype(layout | {"formats": formats, "itemsize": size})


def _number(found: Any) -> np.dtype:
    noted = _noted(found, "numpy dtype")
    code, (_, order, part, *_) = noted.arguments[0], noted.state
    if code not in NUMBERS or order not in {"<", ">", "|"} or part is not None:
        raise ValueError("found an array of something else than numbers")
    return np.dtype(order + code)
