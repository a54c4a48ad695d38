"""The real program over a server, a stand-in: what is played, kept, lost and found again."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import run
from tests.stand_in_server import PIECES, StandIn, logprobs, ranked, serving, tokenize
from tests.terminal import Terminal

TEXT = "Once upon a time there was"
PATH = [1, *tokenize(TEXT, special=True)]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("TOKEX_SERVER_KEY", raising=False)


@pytest.fixture
def server() -> Iterator[StandIn]:
    with serving() as server:
        yield server


@pytest.fixture
def terminal(server: StandIn) -> Iterator[Terminal]:
    terminal = Terminal("--server", server.address, "--prompt", TEXT)
    terminal.shows(rf"tokens: {len(PATH)} .* ready")
    yield terminal
    terminal.child.close(force=True)


def word(path: list[int], rank: int = 1) -> str:
    """The token of a rank after a path, as a row shows it."""
    return PIECES[ranked(path)[rank - 1][1]].decode("utf-8", "replace").replace(" ", "␣")


def appended(path: list[int], rank: int = 1) -> list[int]:
    return [*path, ranked(path)[rank - 1][1]]


def test_the_table_is_the_servers_and_the_header_says_where_it_is_from(terminal: Terminal, server: StandIn) -> None:
    text = terminal.text()
    assert f"⇄ 127.0.0.1:{server.server_port} · llama-server" in text and "top 100" in text
    assert terminal.selected()[:2] == ["1", word(PATH)]
    assert float(terminal.selected()[2]) == pytest.approx(2.718281828 ** ranked(PATH)[0][0], abs=6e-5)


def test_appending_popping_and_going_back_ask_once(terminal: Terminal, server: StandIn) -> None:
    terminal.press("down", "right")
    there = appended(PATH, 2)
    terminal.shows(rf"tokens: {len(there)} .* ready")
    assert terminal.selected()[:2] == ["1", word(there)]
    terminal.press("right")
    terminal.shows(rf"tokens: {len(there) + 1} .* ready")
    terminal.press("left", "left")
    terminal.shows(rf"tokens: {len(PATH)} .* ready")
    assert terminal.selected()[:2] == ["2", word(PATH, 2)], "the popped token is selected, with its rank"
    asked = [json.dumps(body["prompt"]) for path, body in server.calls if path == "/completion"]
    played = [one for one in asked if one == json.dumps(there)]
    assert len(played) <= 1


def test_the_prompt_is_walked_in_the_background(terminal: Terminal) -> None:
    terminal.press("e")
    terminal.shows("probability 0")
    last = f"logprob {sum(logprobs(tuple(PATH[:place]))[PATH[place]] for place in range(1, len(PATH))):.2f}"
    terminal.shows(last.replace(".", r"\."))


@pytest.mark.thorough
def test_autoplay_typing_scores_search_and_the_tree(terminal: Terminal) -> None:
    terminal.press(" ")
    terminal.shows(r"tokens: (1[5-9]|[2-9]\d)")
    terminal.press(" ")
    terminal.shows("ready")
    terminal.press("i", "and the dog", "\r")
    terminal.shows("last token ␣dog ")
    terminal.until(lambda text: " ready" in text)
    terminal.press("i", "the cat", "\x10")
    terminal.shows(r"the cat +\d")
    terminal.press("esc")
    terminal.until(lambda text: "go on with" not in text and " ready" in text)
    terminal.press("/", "moon")
    terminal.shows(r"search: moon .* 2 found")
    terminal.press("right")
    terminal.shows(r"last token ␣?moon ")
    terminal.until(lambda text: " ready" in text)
    terminal.press("d")
    terminal.shows("Prompt 2/2")
    terminal.press("t")
    terminal.shows("visited paths")
    terminal.press("esc")
    terminal.until(lambda text: "visited paths" not in text)
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


@pytest.mark.thorough
def test_a_session_on_a_server_is_gone_on_with(terminal: Terminal, server: StandIn) -> None:
    terminal.press("right", "right")
    path = appended(appended(PATH))
    terminal.shows(rf"tokens: {len(path)} .* ready")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0
    listed = run("sessions")
    assert listed.returncode == 0 and f"toy.gguf ⇄ 127.0.0.1:{server.server_port}" in listed.stdout
    server.calls.clear()
    again = Terminal("--resume")
    again.shows(rf"tokens: {len(path)} .* ready")
    assert "⇄ 127.0.0.1" in again.text() and again.selected()[:2] == ["1", word(path)]
    asked = [body["prompt"] for called, body in server.calls if called == "/completion"]
    assert path not in asked and [path] not in asked, "what is known is not asked for again"
    again.press("right")
    again.shows(rf"tokens: {len(path) + 1} .* ready")
    again.child.close(force=True)


@pytest.mark.thorough
def test_a_session_of_a_file_goes_on_with_on_a_server_and_back(server: StandIn, light: str) -> None:
    """Its texts come along, as to any other model; what was played with the file waits for it."""
    terminal = Terminal("--model", light, "--prompt", TEXT)
    terminal.shows("tokens: 6 .* ready")
    terminal.press("d")
    terminal.shows("Prompt 2/2")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0
    terminal = Terminal("--resume", "--server", server.address)
    terminal.shows(rf"⇄ 127\.0\.0\.1(?s:.*)Prompt 2/2  tokens: {len(PATH)} .* ready")
    terminal.press("right")
    terminal.shows(rf"tokens: {len(PATH) + 1} .* ready")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0
    terminal = Terminal("--resume", "--model", light)
    terminal.shows("Prompt 2/2  tokens: 6 .* ready")
    assert "⇄" not in terminal.text()
    terminal.press("ctrl-q")
    assert terminal.ends() == 0
    terminal = Terminal("--resume", "--server", server.address)
    terminal.shows(rf"tokens: {len(PATH) + 1} .* ready")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


@pytest.mark.thorough
def test_a_server_that_goes_and_comes_back() -> None:
    with serving() as server:
        terminal = Terminal("--server", server.address, "--prompt", TEXT)
        terminal.shows(rf"tokens: {len(PATH)} .* ready")
        terminal.press("right")
        terminal.shows(rf"tokens: {len(PATH) + 1} .* ready")
        port = server.server_port
        server.fault = "resets"
    terminal.press("down", "down", "down", "down", "down", "down", "down", "right")
    terminal.shows(r"no connection to 127\.0\.0\.1:\d+: r reconnects")
    # What is known goes on.
    terminal.press("left", "left")
    terminal.shows(rf"tokens: {len(PATH)} ")
    terminal.press("r")
    terminal.shows(r"127\.0\.0\.1:\d+ does not answer: connection refused; your prompts are safe: press r to reconnect")
    with serving(port=port):
        terminal.press("r")
        terminal.shows(rf"tokens: {len(PATH)} .* ready")
        terminal.press("down", "down", "right")
        terminal.shows(rf"tokens: {len(PATH) + 1} .* ready")
        assert terminal.selected()[:2] == ["1", word(appended(PATH, 3))]
        terminal.press("ctrl-q")
        assert terminal.ends() == 0


@pytest.mark.thorough
def test_a_server_that_comes_back_with_another_model(terminal: Terminal, server: StandIn) -> None:
    server.model = "other"
    server.fault = "resets"
    terminal.press("down", "down", "down", "down", "down", "down", "down", "right")
    terminal.shows("no connection to")
    server.fault = ""
    terminal.press("r")
    terminal.shows("the server has another model now")
    assert TEXT in terminal.text()
    server.model = "toy"
    terminal.press("r")
    terminal.shows(rf"tokens: {len(PATH) + 1} .* ready")


@pytest.mark.thorough
def test_to_a_file_and_back_with_all_prompts(terminal: Terminal, server: StandIn, light: str) -> None:
    Path("models").mkdir()
    Path("models/small.gguf").symlink_to(Path(light).resolve())
    terminal.press("d")
    terminal.shows("Prompt 2/2")
    terminal.press("o")
    terminal.shows(rf"› {server.address} +server")
    terminal.until(lambda text: "small.gguf" in text)
    while "small.gguf" not in " ".join(terminal.selected()):
        terminal.press("down")
        terminal.pump(0.05)
    terminal.press("\r")
    terminal.until(lambda text: "⇄" not in text and "Prompt 2/2" in text and " ready" in text and TEXT in text)
    terminal.press("o")
    terminal.shows("small.gguf")
    while server.address not in " ".join(terminal.selected()):
        terminal.press("up")
        terminal.pump(0.05)
    terminal.press("\r")
    terminal.shows(rf"⇄ 127\.0\.0\.1(?s:.*)Prompt 2/2  tokens: {len(PATH)} .* ready")


def test_the_key_is_in_no_argument_log_session_or_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEX_SERVER_KEY", "s3cret-of-mine")
    with serving(key="s3cret-of-mine") as server:
        terminal = Terminal("--server", server.address, "--prompt", TEXT)
        terminal.shows(rf"tokens: {len(PATH)} .* ready")
        command = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        assert "s3cret" not in command
        terminal.press("right")
        terminal.shows(rf"tokens: {len(PATH) + 1} .* ready")
        server.key = "another"
        server.fault = ""
        terminal.press("down", "down", "down", "down", "down", "down", "down", "right")
        terminal.shows("no connection to")
        terminal.press("r")
        terminal.shows("TOKEX_SERVER_KEY")
        assert "s3cret" not in terminal.text()
        terminal.press("ctrl-q")
        assert terminal.ends() == 0
    for file in (tmp_path / "state").rglob("*"):
        assert not file.is_file() or b"s3cret" not in file.read_bytes(), file


# --- without a screen


def played(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tokex_gguf", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def test_json_has_the_servers_numbers(server: StandIn) -> None:
    done = played("--server", server.address, "--prompt", TEXT, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [token["id"] for token in told["tokens"]] == PATH
    for place, token in enumerate(told["tokens"][1:], 1):
        assert token["logprob"] == pytest.approx(logprobs(tuple(PATH[:place]))[PATH[place]], abs=1e-5)
    assert [row["id"] for row in told["next"]["candidates"]] == [one for _, one in ranked(PATH)[:30]]


@pytest.mark.parametrize(
    "option",
    [("--kv", "q8_0"), ("--threads", "2"), ("--context", "512"), ("--gpu-layers", "1"), ("--rpc", "127.0.0.1:1")],
)
def test_what_a_server_is_not_told_is_a_usage_error(server: StandIn, option: tuple[str, str]) -> None:
    done = played("--server", server.address, "--prompt", TEXT, "--json", *option)
    assert done.returncode == 2 and option[0] in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("option", [("--temp", "0.5"), ("--regex", "a*"), ("--draw", "2")])
def test_what_needs_the_whole_vocabulary_is_a_usage_error(server: StandIn, option: tuple[str, str]) -> None:
    done = played("--server", server.address, "--prompt", TEXT, *option)
    assert done.returncode == 2 and "the whole vocabulary" in done.stderr and len(done.stderr.splitlines()) == 1
    assert not server.calls, "it is told before anything is asked"


def test_a_server_of_the_configuration_is_played_on(server: StandIn) -> None:
    Path("config.toml").write_text(f'[server]\nurl = "{server.address}"\ncandidates = 40\n')
    done = played("--prompt", TEXT, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"]["candidates"] == 40
    assert f"config.toml in the current folder chooses the server: {server.address}" in done.stderr


def test_a_key_does_not_go_where_only_the_current_folder_says(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEX_SERVER_KEY", "s3cret-of-mine")
    Path("config.toml").write_text(f'[server]\nurl = "{server.address}"\n')
    done = played("--prompt", TEXT, "--json")
    assert done.returncode == 2 and "TOKEX_SERVER_KEY" in done.stderr and not server.calls
    done = played("--prompt", TEXT, "--json", "--server", server.address)
    assert done.returncode == 0 and server.keys == {"Bearer s3cret-of-mine"}


def test_no_server_is_one_line() -> None:
    done = played("--server", "http://127.0.0.1:1", "--prompt", TEXT, "--json")
    assert done.returncode == 2 and "127.0.0.1:1 does not answer" in done.stderr
    done = played("--server", "127.0.0.1:8080", "--prompt", TEXT, "--json")
    assert done.returncode == 2 and "begins with http://" in done.stderr


# --- what doctor says


def doctor(key: str = "") -> str:
    environment = {**os.environ, "PYTHONUTF8": "1", "LINES": "24", "COLUMNS": "80", "TOKEX_SERVER_KEY": key}
    command = [sys.executable, "-m", "tokex_gguf", "doctor", "--model", "bundled"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return " ".join(done.stdout.split())


@pytest.mark.thorough
def test_doctor_tells_of_the_server_and_keeps_the_key_to_itself(tmp_path: Path) -> None:
    own = tmp_path / "config" / "tokex-gguf"
    own.mkdir(parents=True)
    with serving(key="s3cret-of-mine") as server:
        (own / "config.toml").write_text(f'[server]\nurl = "{server.address}"\n')
        told = doctor("s3cret-of-mine")
        assert f"server {server.address}: llama-server" in told and "100 candidates; TOKEX_SERVER_KEY is set" in told
        assert "s3cret" not in told
        assert "! 127.0.0.1" in doctor(), "it asks for a key"
    assert "does not answer: connection refused" in doctor()


@pytest.mark.thorough
def test_doctor_sends_no_key_where_only_the_current_folder_says(server: StandIn) -> None:
    Path("config.toml").write_text(f'[server]\nurl = "{server.address}"\n')
    assert f"server {server.address}: not asked" in doctor("s3cret-of-mine")
    assert not server.calls
    assert f"server {server.address}: llama-server" in doctor()
