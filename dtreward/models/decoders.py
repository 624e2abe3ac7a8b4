"""Which classes of transformers read a checkpoint, by the model_type of its config.json.

Every decoder with a language model is here; whether one can be computed in packs, `engine.law` finds
out. A name can be judged without importing torch: transformers imports it with its tables of names,
so they are read from its source.
"""

from __future__ import annotations

import ast
import re
from difflib import get_close_matches
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TABLES = ("models", "auto", "modeling_auto.py")  # of transformers
MODELS = "MODEL_MAPPING_NAMES"
LANGUAGE_MODELS = "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES"
CLASSIFIERS = "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES"
LANGUAGE_MODEL = "ForCausalLM"  # how the names of their classes end
CLASSIFIER = "ForSequenceClassification"


@cache
def class_names(table: str) -> dict[str, Any]:
    """Give a table of transformers: class names by model_type.

    Args:
        table: its name in transformers' `modeling_auto`.

    Raises:
        LookupError: if this version of transformers has no such table.

    Example:
        >>> class_names(LANGUAGE_MODELS)["qwen3"]
        'Qwen3ForCausalLM'
    """
    folder = Path(find_spec("transformers").origin).parent
    for statement in ast.parse(folder.joinpath(*TABLES).read_text(encoding="utf-8")).body:
        is_table = isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call)
        if is_table and getattr(statement.targets[0], "id", "") == table:
            return dict(ast.literal_eval(statement.value.args[0]))
    raise LookupError(f"transformers {version('transformers')} has no {table}")


def is_decoder(model_type: Any) -> bool:
    """Say whether transformers has a decoder of this name, for text alone.

    Example:
        >>> is_decoder("qwen3"), is_decoder("bert_japanese"), is_decoder(["llama"])
        (True, False, False)
    """
    if not isinstance(model_type, str):
        return False
    language_model = class_names(LANGUAGE_MODELS).get(model_type)
    is_for_text = isinstance(language_model, str) and language_model.endswith(LANGUAGE_MODEL)
    return is_for_text and isinstance(class_names(MODELS).get(model_type), str)


def unknown_decoder(model_type: Any) -> str:
    """Say that transformers has no such decoder, and which has nearly the same name.

    Example:
        >>> print(unknown_decoder("qwen33").partition(";")[0])
        model_type must be that of a text decoder of transformers, such as qwen3
    """
    names = [name for name in class_names(LANGUAGE_MODELS) if is_decoder(name)]
    near = get_close_matches(str(model_type), names, 1) or ["llama"]
    return (
        f"model_type must be that of a text decoder of transformers, such as {near[0]}; "
        f"came {model_type!r:.40} (transformers {version('transformers')})"
    )


@cache
def backbone_class(model_type: str) -> type[PreTrainedModel]:
    """Give the transformer without a head; its class does not complain about the tensors of a head.

    Example:
        >>> backbone_class("qwen3").__name__
        'Qwen3Model'
    """
    import transformers  # imports torch

    from dtreward.models.head_names import HEAD_PREFIXES

    model_class = getattr(transformers, class_names(MODELS)[model_type])
    heads = [f"^{re.escape(prefix)}" for prefix in HEAD_PREFIXES]  # `load` reads heads itself
    ignored = [*(model_class._keys_to_ignore_on_load_unexpected or []), *heads]
    entries = {
        "_keys_to_ignore_on_load_unexpected": ignored,
        # transformers looks into the source of a class's module to see what can be set.
        "__module__": model_class.__module__,
    }
    return type(model_class.__name__, (model_class,), entries)


def language_model_class(model_type: str) -> type[PreTrainedModel]:
    """Give the transformer with its language model's head, which writes text.

    Example:
        >>> language_model_class("qwen3").__name__
        'Qwen3ForCausalLM'
    """
    import transformers  # imports torch

    return getattr(transformers, class_names(LANGUAGE_MODELS)[model_type])


def class_prefix(model_type: str) -> str:
    """Give how the names of a decoder's classes begin.

    Example:
        >>> class_prefix("qwen3"), class_prefix("gemma3_text")
        ('Qwen3', 'Gemma3Text')
    """
    return class_names(MODELS)[model_type].removesuffix("Model")


def has_classifier(model_type: str) -> bool:
    """Say whether transformers has a sequence classifier on this decoder.

    Example:
        >>> has_classifier("qwen3"), has_classifier("granite")
        (True, False)
    """
    return model_type in class_names(CLASSIFIERS)
