"""Masks and lists in the hands of those who take them: a grammar library, and a client's request.

The libraries are those of the extra `dev`. transformers has a module of its own beside this; vLLM
and llama.cpp are too large to install for a test, and what was read off them is on the page
docs/masking-and-reusing-ids.md.
"""

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import numpy as np
import pytest

from exportables import PADDING, V, columns, small
from isologit.output.exports import FORMATS, Request
from isologit.selection import select

llguidance_numpy = pytest.importorskip("llguidance.numpy")
openai = pytest.importorskip("openai")


def written(as_: str, *names: str) -> Any:
    selection = select(columns(), names or ("padding",))
    return FORMATS[as_].write(Request(small(), selection))


@pytest.mark.parametrize("names", ["padding", "id:31,32,69", "duplicates", "ordinary"])
def test_a_grammar_library_forbids_exactly_what_was_selected(names: str) -> None:
    mask = np.load(io.BytesIO(written("bitmask", names)), allow_pickle=False)
    assert mask.shape == llguidance_numpy.get_bitmask_shape(1, V)
    assert mask.dtype == llguidance_numpy.allocate_token_bitmask(1, V).dtype
    # Wider than V, as logits of a padded head are: what is beyond V is no token.
    for width in (V, 96):
        logits = np.linspace(-3, 3, width, dtype=np.float32)[np.newaxis, :].copy()
        before = logits.copy()
        llguidance_numpy.apply_token_bitmask_inplace(logits, mask)
        forbidden = np.flatnonzero(np.isneginf(logits[0])).tolist()
        selected = select(columns(), [names]).token_ids.tolist()
        assert forbidden == [*selected, *range(V, width)]
        kept = ~np.isneginf(logits)
        assert np.array_equal(logits[kept], before[kept])


class Server(BaseHTTPRequestHandler):
    """Keeps the body of each request, and answers as an OpenAI-compatible server does."""

    bodies: ClassVar[list[Any]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.bodies.append(json.loads(body))
        message = {"role": "assistant", "content": "x"}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        answer = json.dumps(
            {
                "id": "1",
                "object": "chat.completion",
                "created": 0,
                "model": "m",
                "choices": [choice],
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def client() -> Iterator[Any]:
    """A client of a server on this machine."""
    server = HTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}/v1"
    with openai.OpenAI(base_url=address, api_key="none", max_retries=0) as client:
        yield client
    server.shutdown()
    server.server_close()
    thread.join()


def asked(client: Any, **settings: Any) -> Any:
    """Send a request and return what the server got."""
    messages = [{"role": "user", "content": "x"}]
    client.chat.completions.create(model="m", messages=messages, **settings)
    return Server.bodies.pop()


def test_openai_s_client_sends_logit_bias_as_it_is(client: Any) -> None:
    document = json.loads(written("openai"))
    assert asked(client, **document)["logit_bias"] == {str(i): -100 for i in PADDING}


@pytest.mark.parametrize("as_", ["vllm-allowed", "llama.cpp-server"])
def test_what_servers_take_besides_goes_in_the_body(client: Any, as_: str) -> None:
    document = json.loads(written(as_))
    body = asked(client, extra_body=document)
    assert {name: body[name] for name in document} == document
