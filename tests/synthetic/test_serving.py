"""`transformers serve` with a tiny random model: what it says is nonsense, how it is asked is real."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from clipwright.core.errors import DataError
from clipwright.synthetic.chat import AnswerError, Chat
from clipwright.synthetic.describe import describe, plan
from clipwright.synthetic.endpoint import Endpoint
from clipwright.synthetic.messages import system, user
from clipwright.synthetic.transport import EndpointError

pytestmark = pytest.mark.slow


def random_model(folder: Path) -> Path:
    """A llama of two layers with random weights and a tokenizer of bytes, as a folder of transformers."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    pieces = ["<pad>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>")  # noqa: S106 - tokens of text
    fast.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant: "
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=4096,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of a server and the name of its model."""
    pytest.importorskip("transformers")
    program = Path(sys.executable).with_name("transformers")
    if not program.exists():
        pytest.skip("the command transformers isn't installed: pip install 'transformers[serving]'")
    model = random_model(tmp_path_factory.mktemp("model"))
    command = [
        str(program),
        "serve",
        str(model),
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--device",
        "cpu",
        "--log-level",
        "info",
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield _address(process), str(model)
    finally:
        process.terminate()
        process.communicate(timeout=60)


def _address(process: subprocess.Popen[str]) -> str:
    """Read what the server says until it names its address; keep reading, so that it never blocks."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if found := re.search(r"running on (http://127\.0\.0\.1:\d+)", line):
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return f"{found[1]}/v1"
    pytest.fail("the server ended: " + "".join(said[-20:]))


def test_a_real_server_is_asked_and_its_tokens_are_counted(served: tuple[str, str]) -> None:
    chat = Chat(Endpoint(*served))
    messages = [system("Be brief."), user("Name a colour: \u201cgrün\u201d")]
    answer = chat.ask(messages, max_tokens=12)
    assert answer.truncated
    assert answer.completion_tokens == 12
    assert answer.prompt_tokens > 30  # a token is a byte
    assert not chat.usage.estimated
    again = Chat(Endpoint(*served))
    assert again.ask(messages, max_tokens=12).text == answer.text
    assert again.usage.calls == 0


def test_equal_questions_have_equal_answers_without_the_cache(
    served: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []
    for home in ("a", "b"):
        monkeypatch.setenv("CLIPWRIGHT_HOME", str(tmp_path / home))
        said.append(Chat(Endpoint(*served)).ask([user("a colour?")], max_tokens=16).text)
    assert said[0] == said[1]


def test_nonsense_is_no_answer(served: tuple[str, str]) -> None:
    class Colour(BaseModel):
        colour: str

    chat = Chat(Endpoint(*served))
    with pytest.raises(AnswerError, match="no usable answer"):
        chat.ask_json([user("a colour?")], Colour, max_tokens=8)
    assert (chat.usage.calls, chat.usage.repairs, chat.usage.truncated) == (2, 1, 2)
    with pytest.raises(DataError, match="none of 2 requests"):
        describe(plan(["cat", "dog"], ["attribute"]), chat, quiet=True)


def test_a_model_that_is_not_there_is_one_sentence(served: tuple[str, str]) -> None:
    with pytest.raises(EndpointError) as caught:
        Chat(Endpoint(served[0], "no/such-model", attempts=1)).ask([user("a colour?")])
    assert "\n" not in str(caught.value)
