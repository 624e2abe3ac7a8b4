"""Judges for tests, over real HTTP: endpoints that reply as they are told, and a real LLM server."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pandas as pd
import pytest
import torch
from replicas import make_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM


def some_pairs(count, start=0):
    rows = [(n, f"prompt {n}", f"one {n}", f"two {n}") for n in range(start, start + count)]
    return pd.DataFrame(rows, columns=["prompt_id", "prompt", "response_1", "response_2"])


def says(text, **more):
    message = {"role": "assistant", "content": text}
    return 200, {}, json.dumps({"choices": [{"index": 0, "message": message} | more]})


def shown_first(body):
    """The number and the side of the response that a question shows first."""
    side, number = (
        body["messages"][0]["content"].split("### Response A\n")[1].split("\n")[0].split()
    )
    return int(number), side


def prefers_one(body, headers):
    return says("A is" if shown_first(body)[1] == "one" else "B is")


@contextmanager
def endpoint(reply):
    """Serve `reply(body, headers)` -> (status, headers, text) or bytes to send before hanging up.

    Yields the base_url and the list of (time, body) that came.
    """
    came = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            came.append((time.monotonic(), body))
            found = reply(body, self.headers)
            if isinstance(found, bytes):
                self.wfile.write(found)
                self.close_connection = True
                return
            status, headers, text = found
            content = text.encode()
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(content))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", came
    finally:
        server.shutdown()
        server.server_close()


def in_turn(*replies):
    """Answer the first requests with these, and all later ones as a judge does."""
    left = list(replies)
    lock = threading.Lock()

    def reply(body, headers):
        with lock:
            found = left.pop(0) if left else prefers_one
        return found(body, headers) if callable(found) else found

    return reply


@pytest.fixture(scope="module")
def llm_server(tmp_path_factory):
    """`transformers serve` of a tiny Llama that says "A" as often as it may, at a free port."""
    folder = tmp_path_factory.mktemp("served") / "model"
    tokenizer = make_tokenizer("llama")
    tokenizer.chat_template += "{% if add_generation_prompt %}>{% endif %}"
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": len(tokenizer)}
    ends = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.bos_token_id}
    model = LlamaForCausalLM(LlamaConfig(**sizes, **heads, **ends, max_position_embeddings=4096))
    torch.nn.init.zeros_(model.model.norm.weight)  # all logits 0: greedy takes the token of id 0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer.json"
    saved = json.loads(file.read_text())
    vocabulary = saved["model"]["vocab"]
    vocabulary["!"], vocabulary["A"] = vocabulary["A"], vocabulary["!"]
    file.write_text(json.dumps(saved))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    log = (folder.parent / "log").open("w")
    offline = os.environ | {"HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(command, env=offline, stdout=log, stderr=subprocess.STDOUT)
    try:
        for _ in range(240):
            try:
                httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False)
                break
            except httpx.TransportError:
                assert process.poll() is None, (folder.parent / "log").read_text()
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1", str(folder)
    finally:
        process.terminate()
        process.wait(30)
