"""Read the arrays of a pickled scikit-learn decision tree without executing anything in the file.

A pickle is a program that names functions and calls them. Reading is safe for three reasons:

1. All opcodes are checked first: only those that such a tree needs are allowed.
2. Every name is checked against a list.
3. Each allowed name stands for a class of this module that only stores its arguments and state.
   No class or function of numpy or scikit-learn is imported or called for the file.

The arrays are then decoded from the stored arguments and states.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any

import numpy as np

MAX_BYTES = 2**24  # a tree of depth 3 takes 3 KB
CLASSIFIER = "sklearn.tree._classes DecisionTreeClassifier"
TREE = "sklearn.tree._tree Tree"
DTYPE = "numpy dtype"
ENCODE = "_codecs encode"
RECONSTRUCT = "numpy.core.multiarray _reconstruct"
FROM_BUFFER = "numpy.core.numeric _frombuffer"
NAMES = {
    CLASSIFIER,
    TREE,
    DTYPE,
    ENCODE,
    RECONSTRUCT,
    FROM_BUFFER,
    "numpy ndarray",
    "numpy.core.multiarray scalar",
    # since numpy 2
    "numpy._core.multiarray _reconstruct",
    "numpy._core.multiarray scalar",
    "numpy._core.numeric _frombuffer",
}
# What these opcodes make may be used again: names, texts, bytes and results of calls.
REUSABLE_OPCODES = {
    "GLOBAL",
    "STACK_GLOBAL",
    "REDUCE",
    "NEWOBJ",
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "BINBYTES",
    "SHORT_BINBYTES",
}
STORING_OPCODES = {"BINPUT", "LONG_BINPUT", "MEMOIZE"}
FETCHING_OPCODES = {"BINGET", "LONG_BINGET"}
OPCODES = {
    *REUSABLE_OPCODES,
    *STORING_OPCODES,
    *FETCHING_OPCODES,
    "PROTO",
    "FRAME",
    "STOP",
    "MARK",
    "NONE",
    "NEWTRUE",
    "NEWFALSE",
    "BINFLOAT",
    "BININT",
    "BININT1",
    "BININT2",
    "LONG1",
    "BYTEARRAY8",
    "EMPTY_TUPLE",
    "EMPTY_LIST",
    "EMPTY_DICT",
    "TUPLE",
    "TUPLE1",
    "TUPLE2",
    "TUPLE3",
    "APPEND",
    "APPENDS",
    "SETITEM",
    "SETITEMS",
    "BUILD",
}
NUMBERS = {"i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8", "b1"}
BYTE_ORDERS = {"<", ">", "|"}
NODE_FIELDS = [
    ("left_child", "<i8"),
    ("right_child", "<i8"),
    ("feature", "<i8"),
    ("threshold", "<f8"),
    ("impurity", "<f8"),
    ("n_node_samples", "<i8"),
    ("weighted_n_node_samples", "<f8"),
    ("missing_go_to_left", "u1"),
]
NODE_TYPE = np.dtype(NODE_FIELDS, align=True)
NODE_TYPE_BEFORE_1_3 = np.dtype(NODE_FIELDS[:-1])  # of scikit-learn
CLASSES = ([0, 1], [-1, 1])


def read_nodes(data: bytes, attributes: int) -> tuple[np.ndarray, np.ndarray]:
    """Decode the nodes and values of a pickled DecisionTreeClassifier of two classes.

    The pickle must be plain, of protocol 2 to 5, and by scikit-learn 1.0 or later.

    Args:
        data: the pickle's bytes.
        attributes: number of attributes that the tree was fitted on.

    Returns:
        nodes: a structured array, shape (nodes,), in scikit-learn's order.
        values: class fractions or counts, shape (nodes, 1, 2).

    Raises:
        ValueError: if the pickle holds anything else than such a tree.
        Exception: any other kind for a damaged file; the caller makes it a ValueError.
    """
    classifier = _stand_in(_read_stand_ins(data), CLASSIFIER).state
    classes = _array(classifier["classes_"]).tolist()
    tree = _stand_in(classifier["tree_"], TREE)
    if classes not in CLASSES:
        raise ValueError(f"expected the classes 0 and 1, or -1 and 1; found {classes!r:.100}")
    fitted_attributes = tree.arguments[0]
    if fitted_attributes != attributes:
        raise ValueError(f"it has {fitted_attributes!r:.20} features, you named {attributes}")
    nodes = _array(tree.state["nodes"])
    values = _array(tree.state["values"])
    are_nodes = nodes.dtype in (NODE_TYPE, NODE_TYPE_BEFORE_1_3)
    if not are_nodes or values.shape != (len(nodes), 1, 2) or values.dtype != "f8":
        raise ValueError(f"expected nodes with two fractions each; found {values.shape}")
    return nodes, values


class _StandIn:
    """Stores what a pickle would pass to a class or function, and calls nothing.

    Attributes:
        name: module and name of the class or function, with a space between them.
        arguments: of the call.
        state: that the pickle would set on the object; None for none.
    """

    name = ""
    arguments: tuple = ()
    state: Any = None

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _StandInUnpickler(pickle.Unpickler):
    """Reads a pickle in which every name is a stand-in."""

    def find_class(self, module: str, name: str) -> type:
        """Make a stand-in class for an allowed name; a ValueError for any other."""
        if f"{module} {name}" not in NAMES:
            raise ValueError(f"found {module:.80}.{name:.80}, which no such tree needs")
        name_before_numpy_2 = f"{module} {name}".replace("_core", "core")
        return type("StandIn", (_StandIn,), {"name": name_before_numpy_2})


def _read_stand_ins(data: bytes) -> Any:
    """Check a pickle, and read it with a stand-in for each object."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"expected at most {MAX_BYTES:,} bytes, found more")
    _check_opcodes(data)
    return _StandInUnpickler(io.BytesIO(data)).load()


def _check_opcodes(data: bytes) -> None:
    """Raise a ValueError if a pickle does anything that a tree does not need."""
    memo: dict[int, str] = {}  # by the place in the pickle's memo, the opcode that made the value
    opcode_before = ""
    position = -1
    for opcode, argument, place_of_opcode in pickletools.genops(data):
        name = opcode.name
        position = place_of_opcode or 0
        if name not in OPCODES:
            raise _unneeded_opcode(name, position)
        if name == "LONG_BINPUT" and int(argument or 0) > len(
            data
        ):  # would reserve that much memory
            raise _unneeded_opcode(name, position)
        if name == "GLOBAL" and argument not in NAMES:
            raise ValueError(f"found {argument:.160}, which no such tree needs")
        if name in STORING_OPCODES:
            place = len(memo) if name == "MEMOIZE" else int(argument or 0)
            memo[place] = opcode_before
        # A tuple that is used again could hold itself, or tuples of tuples whose hash never ends.
        if name in FETCHING_OPCODES and memo.get(argument) not in REUSABLE_OPCODES:
            raise ValueError(f"found a container used again at byte {position}")
        opcode_before = name
    trailing = len(data) - position - 1
    if trailing > 0:
        raise ValueError(f"found {trailing} more bytes after its end")


def _unneeded_opcode(name: str, position: int) -> ValueError:
    return ValueError(f"found the opcode {name} at byte {position}, which no tree needs")


def _stand_in(value: Any, name: str) -> _StandIn:
    """Check that a value is the stand-in of this name, and return it."""
    if not isinstance(value, _StandIn):
        raise ValueError(  # noqa: TRY004 (what is wrong is a file, not an argument)
            f"expected {name}, found a {type(value).__name__}"
        )
    if value.name != name:
        raise ValueError(f"expected {name}, found {value.name}")
    return value


def _array(value: Any) -> np.ndarray:
    """Decode the array that a stand-in stores."""
    if isinstance(value, _StandIn) and value.name == FROM_BUFFER:  # protocol 5
        data, dtype, shape, order = value.arguments
    else:
        _, shape, dtype, is_fortran, data = _stand_in(value, RECONSTRUCT).state
        order = "F" if is_fortran else "C"
    if isinstance(data, _StandIn):  # protocol 2 writes bytes as text
        text = _stand_in(data, ENCODE).arguments[0]
        data = text.encode("latin1")
    return np.frombuffer(data, _dtype(dtype)).reshape(shape, order=order)


def _dtype(value: Any) -> np.dtype:
    """Decode the type of an array's items: numbers, or structures of named numbers."""
    _, _, _, names, fields, size, *_ = _stand_in(value, DTYPE).state
    if names is None:
        return _number_dtype(value)
    layout = {
        "names": list(names),
        "offsets": [fields[name][1] for name in names],
        "formats": [_number_dtype(fields[name][0]) for name in names],
        "itemsize": size,
    }
    return np.dtype(layout)


def _number_dtype(value: Any) -> np.dtype:
    """Decode the type of a number; a ValueError for objects, texts and nested arrays."""
    stand_in = _stand_in(value, DTYPE)
    code = stand_in.arguments[0]
    _, byte_order, subarray, *_ = stand_in.state
    if code not in NUMBERS or byte_order not in BYTE_ORDERS or subarray is not None:
        raise ValueError("found an array of something else than numbers")
    return np.dtype(byte_order + code)
