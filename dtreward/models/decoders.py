"""Which classes of transformers read a checkpoint, by the model_type of its config.json.

Every decoder with a language model is here; whether one can be computed in packs, `engine.law` finds
out.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cache
from typing import Any

import transformers
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    MODEL_MAPPING_NAMES,
)

from dtreward.models.head_names import HEAD_PREFIXES

HEAD_TENSORS = [f"^{re.escape(prefix)}" for prefix in HEAD_PREFIXES]  # `load` reads heads itself
LANGUAGE_MODEL = "ForCausalLM"  # how the names of their classes end
CLASSIFIER = "ForSequenceClassification"


def is_decoder(model_type: Any) -> bool:
    """Say whether transformers has a decoder of this name, for text alone.

    Example:
        >>> is_decoder("qwen3"), is_decoder("bert_japanese"), is_decoder(["llama"])
        (True, False, False)
    """
    if not isinstance(model_type, str):
        return False
    language_model = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(model_type)
    is_for_text = isinstance(language_model, str) and language_model.endswith(LANGUAGE_MODEL)
    return is_for_text and isinstance(MODEL_MAPPING_NAMES.get(model_type), str)


def unknown_decoder(model_type: Any) -> str:
    """Say that transformers has no such decoder, and which has nearly the same name.

    Example:
        >>> print(unknown_decoder("qwen33").partition(";")[0])
        model_type must be that of a text decoder of transformers, such as qwen3
    """
    names = [name for name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES if is_decoder(name)]
    near = get_close_matches(str(model_type), names, 1) or ["llama"]
    return (
        f"model_type must be that of a text decoder of transformers, such as {near[0]}; "
        f"came {model_type!r:.40} (transformers {transformers.__version__})"
    )


@cache
def backbone_class(model_type: str) -> type[PreTrainedModel]:
    """Give the transformer without a head; its class does not complain about the tensors of a head.

    Example:
        >>> backbone_class("qwen3").__name__
        'Qwen3Model'
    """
    model_class = getattr(transformers, MODEL_MAPPING_NAMES[model_type])
    ignored = [*(model_class._keys_to_ignore_on_load_unexpected or []), *HEAD_TENSORS]
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
    return getattr(transformers, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[model_type])


def class_prefix(model_type: str) -> str:
    """Give how the names of a decoder's classes begin.

    Example:
        >>> class_prefix("qwen3"), class_prefix("gemma3_text")
        ('Qwen3', 'Gemma3Text')
    """
    return MODEL_MAPPING_NAMES[model_type].removesuffix("Model")


def has_classifier(model_type: str) -> bool:
    """Say whether transformers has a sequence classifier on this decoder.

    Example:
        >>> has_classifier("qwen3"), has_classifier("granite")
        (True, False)
    """
    return model_type in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES
