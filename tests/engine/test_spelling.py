"""Texts that a vocabulary cannot spell, or that its tokenizer changes, are told."""

import json
import os
import subprocess
import sys
from pathlib import Path

import gguf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fake import started
from tests.tiny_models import llama, qwen2, set_key, without_keys
from tokex_gguf.engine.protocol import Tokenize, Tokenized
from tokex_gguf.engine.spelling import difference
from tokex_gguf.models.discovery import bundled_model
from tokex_gguf.play.actions import Action
from tokex_gguf.play.messages import Typed


@pytest.mark.parametrize(
    ("text", "spelled", "told"),
    [
        ("a🦜b", b"ab", "the vocabulary cannot spell 🦜 (U+1F99C): the numbers are of another text"),
        ("a🦜b", b"a<unk>b", "the vocabulary cannot spell 🦜 (U+1F99C)"),
        ("a\u3000\x01b", b"ab", "cannot spell U+3000, U+0001:"),
        ("αβγδε", b"", "cannot spell α (U+03B1), β (U+03B2), γ (U+03B3) and 2 more"),
        ("e\u0301", "é".encode(), "normalises to NFC"),
        ("ﬁ", b"fi", "normalises to NFKC"),
        ("ABc", b"abc", "no capitals"),
        ("a  b", b"a b", "from character 2 on"),
        ("a b a", b"a b ", "from character 4 on"),
        ("a", b" a", "from character 0 on"),
    ],
)
def test_what_is_told(text: str, spelled: bytes, told: str) -> None:
    assert told in difference(text, spelled)


@given(st.text(), st.booleans())
def test_a_text_that_is_spelled_is_not_told(text: str, space_prefix: bool) -> None:
    assert difference(text, text.encode(), space_prefix=space_prefix) == ""
    assert difference(text, b" " + text.encode(), space_prefix=True) == ""


@given(st.text(), st.binary(), st.booleans())
def test_all_others_are_one_line(text: str, spelled: bytes, space_prefix: bool) -> None:
    told = difference(text, spelled, space_prefix=space_prefix)
    assert "\n" not in told
    assert (told == "") == (spelled in ((text.encode(), b" " + text.encode()) if space_prefix else (text.encode(),)))


def test_the_screen_tells_it_and_keeps_it_for_the_prompts_alone() -> None:
    play = started("hello").press(Action.INPUT)
    play.take(Typed("ab"))
    typed = next(one for one in play.asked if isinstance(one, Tokenize))
    play.asked.clear()
    play.take(Tokenized(typed.request, [1], {}, notice="it cannot"))
    assert play.session.notice == "it cannot" and play.session.game.notices == ()
    play.take(Typed("c"))
    play.take(Action.ENTER)
    typed = next(one for one in play.asked if isinstance(one, Tokenize))
    play.asked.clear()
    play.take(Tokenized(typed.request, [1], {}, notice="it cannot"))
    assert play.session.notice == "it cannot" and play.session.game.notices == ("it cannot",)


def printed(model: Path, text: str, folder: Path, *more: str) -> dict[str, list[str]]:
    run = subprocess.run(
        [sys.executable, "-m", "tokex_gguf", "--json", "--model", str(model), "--prompt", text, *more],
        capture_output=True,
        cwd=folder,
        env={**os.environ, "XDG_STATE_HOME": str(folder)},
        check=True,
    )
    answer: dict[str, list[str]] = json.loads(run.stdout)
    for notice in answer["notices"]:
        assert notice.encode() in run.stderr
    return answer


def test_the_bundled_model_spells_everything(tmp_path: Path) -> None:
    model = bundled_model()
    assert model
    assert printed(model, "né 🦜 \u3000\u200d\xa0 e\u0301  x\t\n", tmp_path)["notices"] == []


def test_what_a_vocabulary_drops_is_told(tmp_path: Path) -> None:
    model = qwen2(tmp_path, without="҂".encode()[:1])
    answer = printed(model, "the ҂ cat", tmp_path)
    assert answer["notices"] == ["the vocabulary cannot spell ҂ (U+0482): the numbers are of another text"]
    assert printed(model, "the cat", tmp_path)["notices"] == []


def test_a_file_without_a_pre_tokenizer_is_told(tmp_path: Path) -> None:
    (notice,) = printed(qwen2(tmp_path, pre=""), "the cat", tmp_path)["notices"]
    assert notice.startswith("the file names no pre-tokenizer")


def test_a_space_before_the_text_is_no_change(tmp_path: Path) -> None:
    for text in ("the cat", " the", "  the", "\n", "né 🦜"):
        assert printed(llama(tmp_path), text, tmp_path)["notices"] == []


@pytest.mark.parametrize("named", [True, False])
def test_a_missing_first_token_is_told(named: bool, tmp_path: Path) -> None:
    def change(writer: gguf.GGUFWriter) -> None:
        set_key("tokenizer.ggml.add_bos_token", True, gguf.GGUFValueType.BOOL)(writer)
        if not named:
            without_keys("tokenizer.ggml.bos_token_id")(writer)

    told = printed(qwen2(tmp_path, change=change), "the cat", tmp_path)["notices"]
    assert told == ([] if named else ["the file asks for a BOS token and names none: this text begins without one"])


@pytest.mark.parametrize("named", [True, False])
def test_a_template_that_wants_a_missing_first_token_says_so(named: bool, tmp_path: Path) -> None:
    def change(writer: gguf.GGUFWriter) -> None:
        writer.add_chat_template("{{ bos_token }}{{ messages[0].content }}")
        if not named:
            without_keys("tokenizer.ggml.bos_token_id")(writer)

    told = printed(qwen2(tmp_path, change=change), "the cat", tmp_path, "--chat")["notices"]
    assert told == ([] if named else ["the chat template asks for a BOS token and the file names none: it is left out"])
