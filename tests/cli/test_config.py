"""The configuration: its defaults are those shipped, and each fault says what is wrong where."""

import os
import re
import tomllib
from dataclasses import asdict
from pathlib import Path

import platformdirs
import pytest

from tokex_gguf import config
from tokex_gguf.config import Config, ConfigError, load

SHIPPED = Path(__file__).parent.parent.parent / "config.toml"


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "config.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def fault(path: Path) -> str:
    """What is said of a faulty file: one line that names it."""
    with pytest.raises(ConfigError) as caught:
        load(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ") and "\n" not in said
    return said.removeprefix(f"{path}: ")


# --- what is right


def test_shipped_file_is_all_the_defaults() -> None:
    assert tomllib.loads(SHIPPED.read_text(encoding="utf-8")) == asdict(Config())
    assert load(SHIPPED) == Config()


def test_no_file_is_the_defaults() -> None:
    assert load(None) == Config()


def test_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert load(write(tmp_path, "")) == Config()


def test_every_value_is_read(tmp_path: Path) -> None:
    values: dict[str, dict[str, object]] = {
        "model": {"name": "ü.gguf"},
        "server": {"url": "https://a.example/v1", "model": "m", "candidates": 7, "insecure": True},
        "prompt": {"example_prompt": "Hi", "max_prompts": 2, "parse_special": False},
        "display": {"tokens_to_show": 3, "theme": "light", "palette": "colour-blind", "surprise_bits": 8},
        "engine": {
            "threads": 4,
            "context": 5,
            "kv": "q8_0",
            "gpu_layers": 6,
            "rpc": "lab:1",
            "lookahead": 0,
            "lookahead_tokens": 9,
            "cache": 7,
        },
        "answers": {
            "until": "12 tokens",
            "tokens": 9,
            "seconds": 3,
            "coverage": 50,
            "critical": 2,
            "critical_tokens": 9,
        },
    }
    assert {table: set(keys) for table, keys in values.items()} == {
        table: set(keys) for table, keys in asdict(Config()).items() if table != "samplers"
    }
    values["samplers"] = {"careful": "--temp 0.3 --min-p 0.1"}
    text = "\n".join(
        f"[{table}]\n"
        + "\n".join(f"{key} = {str(v).lower() if isinstance(v, bool) else repr(v)}" for key, v in keys.items())
        for table, keys in values.items()
    )
    assert asdict(load(write(tmp_path, text))) == values


def test_what_is_not_given_keeps_its_default(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, "[prompt]\nmax_prompts = 3"))
    assert loaded.prompt.max_prompts == 3
    assert asdict(loaded) | {"prompt": {}} == asdict(Config()) | {"prompt": {}}
    assert loaded.prompt.example_prompt == Config().prompt.example_prompt


def test_the_presets_of_sampler_chains_are_flags_by_names_of_ones_own(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, '[samplers]\n"très sage" = "--temp 0"\nwild = ""'))
    assert loaded.samplers == {"très sage": "--temp 0", "wild": ""}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a = 5", "samplers.a: expected flags of llama.cpp's samplers, got 5"),
        ('a = "--top-k"', "samplers.a: --top-k takes a value"),
        ('a = "--top-k many"', "samplers.a: --top-k takes a whole number from 0 to 1000000, not 'many'"),
        ('a = "--tpo-k 5"', "samplers.a: --tpo-k: no flag of a sampler"),
        ('greedy = "--temp 1"', "samplers.greedy: there is such a preset already: it needs another name"),
        ('"" = "--temp 1"', "samplers.'': expected a name of 1 to 30 characters that can be shown"),
        ('"a\\tb" = "--temp 1"', "samplers.'a\\tb': expected a name of 1 to 30 characters that can be shown"),
    ],
)
def test_a_preset_that_is_none(tmp_path: Path, line: str, said: str) -> None:
    assert fault(write(tmp_path, f"[samplers]\n{line}")) == said


RANGES = [
    ("prompt", "max_prompts", 1, 99),
    ("display", "tokens_to_show", 1, 1000),
    ("display", "surprise_bits", 0, 50),
    ("engine", "threads", 0, 1024),
    ("engine", "context", 0, 10_000_000),
    ("engine", "gpu_layers", 0, 1000),
]


@pytest.mark.parametrize(("table", "key", "low", "high"), RANGES)
def test_ends_of_a_range_are_in_it(tmp_path: Path, table: str, key: str, low: int, high: int) -> None:
    for value in (low, high):
        assert asdict(load(write(tmp_path, f"[{table}]\n{key} = {value}")))[table][key] == value


# --- what is wrong


@pytest.mark.parametrize(("table", "key", "low", "high"), RANGES)
@pytest.mark.parametrize(
    "value", ["{low}", "{high}", "true", "false", "1.0", '"5"', "[5]", "nan", "1979-05-27", "{{}}"]
)
def test_no_number_in_range(tmp_path: Path, table: str, key: str, low: int, high: int, value: str) -> None:
    value = value.format(low=low - 1, high=high + 1)
    said = fault(write(tmp_path, f"[{table}]\n{key} = {value}"))
    assert said.startswith(f"{table}.{key}: expected a whole number from {low} to {high}, got ")


@pytest.mark.parametrize(("table", "key"), [("model", "name"), ("prompt", "example_prompt")])
@pytest.mark.parametrize("value", ["5", "true", '""', "['a']", "1.5"])
def test_no_text(tmp_path: Path, table: str, key: str, value: str) -> None:
    said = fault(write(tmp_path, f"[{table}]\n{key} = {value}"))
    assert said.startswith(f"{table}.{key}: expected a text that is not empty, got ")


@pytest.mark.parametrize(("value", "got"), [("0", "0"), ("1", "1"), ('"true"', "'true'"), ("[]", "[]")])
def test_no_truth_value(tmp_path: Path, value: str, got: str) -> None:
    said = fault(write(tmp_path, f"[prompt]\nparse_special = {value}"))
    assert said == f"prompt.parse_special: expected true or false, got {got}"


def test_long_value_is_quoted_shortly(tmp_path: Path) -> None:
    assert len(fault(write(tmp_path, f'[engine]\nthreads = "{"x" * 5000}"'))) < 120


@pytest.mark.parametrize("text", ["[modle]", "[Model]", "modle = 5", '""= 1', "[modle.name]"])
def test_unknown_table(tmp_path: Path, text: str) -> None:
    said = fault(write(tmp_path, text))
    assert said.endswith(": unknown; expected one of model, server, prompt, display, engine, answers, samplers")
    assert text.split("=")[0].strip(' []"').partition(".")[0] in said.partition(":")[0]


@pytest.mark.parametrize(
    ("text", "key", "known"),
    [
        ("[model]\nnmae = 'x'", "model.nmae", "name"),
        ("[prompt]\nmax_prompt = 3", "prompt.max_prompt", "example_prompt, max_prompts, parse_special"),
        ("[display]\nname = 3", "display.name", "tokens_to_show, theme, palette, surprise_bits"),
        (
            "engine.thread = 3",
            "engine.thread",
            "threads, context, kv, gpu_layers, rpc, lookahead, lookahead_tokens, cache",
        ),
        ("[engine.threads.deep]\n[engine.x]", "engine.threads", None),
    ],
)
def test_unknown_key(tmp_path: Path, text: str, key: str, known: str | None) -> None:
    said = fault(write(tmp_path, text))
    assert said.startswith(f"{key}: ")
    assert known is None or said.endswith(f": unknown key; expected one of {known}")


@pytest.mark.parametrize("table", ["model", "prompt", "display", "engine"])
@pytest.mark.parametrize("value", ["5", '"x"', "true", "[]"])
def test_no_table(tmp_path: Path, table: str, value: str) -> None:
    assert fault(write(tmp_path, f"{table} = {value}")) == f"{table}: expected a table [{table}]"


def test_array_of_tables_is_no_table(tmp_path: Path) -> None:
    assert fault(write(tmp_path, "[[model]]\nname = 'x'")) == "model: expected a table [model]"


@pytest.mark.parametrize(
    "text",
    [
        "[model",
        "name",
        "[model]\nname = 'x",
        "[model]\nname = 'x'\nname = 'y'",
        "[model]\n[engine]\n[model]",
        "[engine]\nthreads = 08",
        "x = " + "[" * 10_000,
    ],
    ids=lambda text: text[:20],
)
def test_no_toml(tmp_path: Path, text: str) -> None:
    said = fault(write(tmp_path, text))
    assert said.startswith("not TOML: ") and len(said) > len("not TOML: ")


@pytest.mark.parametrize(("data", "at"), [(b"\xff\xfe[", 2), (b"[model]\nname = '\xe9'", 16), (b"# \xc3", 2)])
def test_no_utf8(tmp_path: Path, data: bytes, at: int) -> None:
    assert re.fullmatch(rf"not UTF-(8|16) at byte offset {at}: save it as UTF-8", fault(write(tmp_path, data)))


def test_no_file(tmp_path: Path) -> None:
    assert fault(tmp_path / "config.toml") == "cannot be read: No such file or directory"


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs this may read everything, so the refusal is acted."""

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert fault(write(tmp_path, "")) == "cannot be read: Permission denied"


def test_folder_in_its_place(tmp_path: Path) -> None:
    assert fault(tmp_path).startswith("cannot be read: ")


# --- which file


@pytest.mark.parametrize(
    ("here", "users", "found"),
    [(True, True, "here"), (True, False, "here"), (False, True, "users"), (False, False, None)],
)
def test_current_folder_goes_before_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: bool, users: bool, found: str | None
) -> None:
    for name, there in (("here", here), ("users", users)):
        (tmp_path / name).mkdir()
        if there:
            write(tmp_path / name, "")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(platformdirs, "user_config_dir", lambda *_, **__: str(tmp_path / "users"))
    path = config.find().path
    assert (path.resolve() if path else None) == (tmp_path / found / "config.toml" if found else None)


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_a_folder_or_pipe_of_that_name_is_no_file(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "folder":
        (tmp_path / "config.toml").mkdir()
    elif hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "config.toml")
    else:
        pytest.skip("Windows has no named pipes in folders")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(platformdirs, "user_config_dir", lambda *_, **__: str(tmp_path / "users"))
    notice = "config.toml in the current folder is passed over: it is not a plain file"
    assert config.find() == config.FoundConfig(Config(), notices=(notice,))


@pytest.mark.parametrize("value", ['"dim"', "3", "true", '""'])
def test_a_choice_names_what_can_be_chosen(value: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"display\.theme: expected 'auto' or 'dark' or 'light', got "):
        load(write(tmp_path, f"[display]\ntheme = {value}"))


# --- the current folder's file may be another program's


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder; the user's own configuration chooses 3 rows."""
    (tmp_path / "here").mkdir()
    (tmp_path / "users").mkdir()
    write(tmp_path / "users", "[display]\ntokens_to_show = 3")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(platformdirs, "user_config_dir", lambda *_, **__: str(tmp_path / "users"))
    return tmp_path / "here"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("baseURL = 'https://example.org/'", "it has no table of ours"),  # Hugo's
        ("[build]\njobs = 4", "it has no table of ours"),  # Cargo's
        ("[server]\nport = 8501\n[theme]\nbase = 'dark'", "it has no table of ours"),  # Streamlit's
        ("[modle]\nname = 'x'", "it has no table of ours"),
        ("{{ .Values.settings }}\n", "it has no table of ours"),
        ("key: value", "it has no table of ours"),
        (".".join(["a"] * 100) + " = 1", "it has no table of ours"),
        ("a = [" + "[" * 10_000, "it has no table of ours"),
        ('"\\u001b[2J" = 1', "it has no table of ours"),
        (b"caf\xe9 = 1", "not UTF-8 at byte offset 3"),
        (b"\0\1\2", "not text: a zero byte"),
        ("#" * 300_000, "larger than 256 KiB"),
    ],
)
def test_a_foreign_file_is_passed_over_and_told(text: str | bytes, reason: str, here: Path) -> None:
    write(here, text)
    found = config.find()
    assert found.config.display.tokens_to_show == 3, "the user's own"
    (notice,) = found.notices
    assert notice.startswith(f"config.toml in the current folder is passed over: {reason}")
    with pytest.raises(ConfigError):
        load(here / "config.toml")


@pytest.mark.parametrize(
    "text",
    [
        "[engine]\nthread = 3",
        "[engine]\nthreads = 'two'",
        "[model]\nname = x",
        "[ model ]\nname = 'x",
        "model.name = 3",
        "baseURL = 'x'\n[model]\nname = 'x'",
        "'display' = {",
    ],
)
def test_a_faulty_file_of_ours_is_told_with_a_way_out(text: str, here: Path) -> None:
    write(here, text)
    with pytest.raises(ConfigError, match=r"^config\.toml: .*; --no-config starts without it$"):
        config.find()


def test_a_model_that_the_current_folder_chooses_is_told(here: Path) -> None:
    write(here, "[model]\nname = 'someone/else'")
    assert config.find().notices == ("config.toml in the current folder chooses the model: someone/else",)
    write(here, "[display]\ntokens_to_show = 5")
    assert config.find().notices == ()


def test_a_file_of_a_windows_editor_is_read(tmp_path: Path) -> None:
    text = "[display]\r\ntokens_to_show = 5\r\n"
    for encoding in ("utf-8-sig", "utf-16"):
        assert load(write(tmp_path, text.encode(encoding))).display.tokens_to_show == 5


def test_the_null_device_is_an_empty_file(tmp_path: Path) -> None:
    assert load(Path(os.devnull)) == Config()
    (tmp_path / "link").symlink_to(os.devnull)
    assert load(tmp_path / "link") == Config()


# --- servers


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://a", "a server's address begins with http:// or https://, and not as ftp://a does"),
        ("http://a:b@host", "a server's address has no user and no password in it: a key comes from TOKEX_SERVER_KEY"),
    ],
)
def test_what_is_no_address_of_a_server_is_told(tmp_path: Path, url: str, said: str) -> None:
    assert fault(write(tmp_path, f'[server]\nurl = "{url}"')) == f"server.url: {said}"


def test_a_server_without_an_address_is_none(tmp_path: Path) -> None:
    assert load(write(tmp_path, '[server]\nurl = ""\nmodel = ""')) == Config()


def test_a_server_that_the_current_folder_chooses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, '[server]\nurl = "http://other.example"')
    found = config.find()
    assert found.config.server.url == "http://other.example"
    assert found.notices == ("config.toml in the current folder chooses the server: http://other.example",)


@pytest.mark.parametrize(
    ("text", "deep"),
    [
        ('example_prompt = "' + " ".join(f"{number}." for number in range(40)) + '"', False),
        ('a = """\n' + "word. " * 40 + '"""', False),
        ("# " + "note. " * 40, False),
        ('a = ["one, ' + "b. " * 40 + '"]', False),
        (".".join("a" * 40) + " = 1", True),
        ("[" + ".".join("a" * 40) + "]", True),
        ("a = {" + " . ".join(['"b"'] * 40) + " = 1}", True),
    ],
)
def test_only_keys_have_parts(text: str, deep: bool) -> None:
    assert config._is_deep(text) is deep


def test_a_file_of_ours_with_a_byte_that_is_no_text_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_bytes(b"[display]\n# caf\xe9\n")
    with pytest.raises(ConfigError, match=r"not UTF-8 at byte offset 15.*--no-config starts without it"):
        config.find()


@pytest.mark.parametrize("name", ["a" * 300, "file/folder"])
def test_a_folder_that_cannot_be_looked_into_is_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setattr(platformdirs, "user_config_dir", lambda *_, **__: str(tmp_path / name))
    if name == "file/folder":
        assert config.find() == config.FoundConfig(Config()), "there is none"
        return
    with pytest.raises(ConfigError, match=r"cannot be read: .*--no-config starts without it"):
        config.find()


def test_a_file_of_ours_with_a_server_alone_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text('[server]\nurl = "http://127.0.0.1:8080\n')
    assert config._foreign(tmp_path / "config.toml") is None
    (tmp_path / "config.toml").write_text('[server]\nport = "8080\n')
    assert config._foreign(tmp_path / "config.toml")
