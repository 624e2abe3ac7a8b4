"""Read a GGUF file: its numbers are made floats again and written as an ordinary model folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch
import transformers
from huggingface_hub import constants
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from dtreward.files import file_digest

SUFFIX = ".gguf"
ORIGIN = "dequantised_from"  # the entry of config.json that names the file


def unpack_gguf(path: str | Path) -> Path:
    """Give a folder with the model of a GGUF file; it is made once, and kept.

    Quantised numbers are multiplied out in float32, which loses nothing of what the file holds. The
    folder lies in the cache of Hugging Face's libraries (`HF_HOME`), under a name with the file's
    digest, and its config.json names the file.

    Raises:
        ValueError: if transformers cannot read the file.
        ImportError: if the package `gguf` is not installed.
    """
    path = Path(path)
    digest = file_digest(path)
    folder = Path(constants.HF_HOME, "dtreward", f"{path.stem}-{digest[:12]}")
    if folder.exists():
        return folder
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        _write(path, digest, partial)
        os.replace(partial, folder)
    except OSError:
        if not folder.exists():  # else another process was faster
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _write(path: Path, digest: str, folder: Path) -> None:
    options = {"gguf_file": path.name, "trust_remote_code": False}
    was_enabled = transformers.logging.is_progress_bar_enabled()
    transformers.logging.disable_progress_bar()
    try:
        config = AutoConfig.from_pretrained(path.parent, **options)
        tokenizer = AutoTokenizer.from_pretrained(path.parent, **options)
        model = AutoModelForCausalLM.from_pretrained(
            path.parent, config=config, dtype=torch.float32, **options
        )
    except ImportError as error:
        raise ImportError(
            f'{path} needs the package gguf: pip install "dtreward[study]"'
        ) from error
    except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"{path} cannot be read as a GGUF model ({reason}); fetch it again, or take the model's "
            "safetensors"
        ) from None
    finally:
        if was_enabled:
            transformers.logging.enable_progress_bar()
    # The model that was read still counts as quantised, which transformers does not write.
    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(config)
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.tie_weights()
    setattr(plain.config, ORIGIN, {"file": path.name, "sha256": digest})
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
