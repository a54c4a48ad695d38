"""Models that other programs have on this machine."""

import errno
import hashlib
import json
import os
from pathlib import Path

import pytest

from tokex_gguf.models import discovery, hub_cache
from tokex_gguf.models import reference as model_reference
from tokex_gguf.models.catalogue import catalogue
from tokex_gguf.models.discovery import on_disk
from tokex_gguf.models.resolve import UnknownModel, find


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing on it but the bundled model."""
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "LLAMA_CACHE", "OLLAMA_MODELS", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def gguf(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"GGUF" + os.fsencode(path.name))
    return path


def hub_file(home: Path, repo: str, file: str) -> Path:
    folder = home / ".cache" / "huggingface" / "hub" / f"models--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text("b" * 40)
    return gguf(folder / "snapshots" / ("b" * 40) / file)


def ollama(home: Path, owner: str, model: str, tag: str, registry: str = "registry.ollama.ai") -> Path:
    digest = hashlib.sha256(f"{owner}/{model}:{tag}".encode()).hexdigest()
    manifest = home / ".ollama" / "models" / "manifests" / registry / owner / model / tag
    manifest.parent.mkdir(parents=True, exist_ok=True)
    layers = [
        {"mediaType": "application/vnd.ollama.image.license", "digest": "sha256:0"},
        {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}"},
    ]
    manifest.write_text(json.dumps({"layers": layers}))
    return gguf(home / ".ollama" / "models" / "blobs" / f"sha256-{digest}")


def everywhere(home: Path) -> dict[str, tuple[str, Path]]:
    """A model in each of the places, by its name."""
    return {
        "mine.gguf": ("models/", gguf(home / "work" / "models" / "mine.gguf")),
        "maker/model-GGUF:model.Q4_K_M.gguf": (
            "Hugging Face",
            hub_file(home, "maker/model-GGUF", "model.Q4_K_M.gguf"),
        ),
        "ggml_cached.gguf": ("llama.cpp", gguf(Path(home / ".cache" / "llama.cpp" / "ggml_cached.gguf"))),
        "pub/repo:studio.Q8_0.gguf": (
            "LM Studio",
            gguf(home / ".lmstudio" / "models" / "pub" / "repo" / "studio.Q8_0.gguf"),
        ),
        "llama3.2:1b": ("Ollama", ollama(home, "library", "llama3.2", "1b")),
        "someone/tune:latest": ("Ollama", ollama(home, "someone", "tune", "latest")),
        "hf.co/maker/other:Q8_0": ("Ollama", ollama(home, "maker", "other", "Q8_0", "hf.co")),
    }


@pytest.mark.skipif("sys.platform != 'linux'", reason="the folders' names are those of Linux")
def test_models_of_all_programs_are_found_by_name(home: Path) -> None:
    expected = everywhere(home)
    found = {place.name: (place.source, place.path.resolve()) for place in on_disk() if place.source != "bundled"}
    assert found == expected
    for name, (_, path) in expected.items():
        resolved = find(name)
        assert resolved is not None and resolved.path.resolve() == path


@pytest.mark.skipif("sys.platform != 'linux'", reason="the folders' names are those of Linux")
def test_a_part_of_a_name_is_enough_where_it_means_one_model(home: Path) -> None:
    expected = everywhere(home)
    for part, name in (("llama3", "llama3.2:1b"), ("STUDIO", "pub/repo:studio.Q8_0.gguf"), ("mine", "mine.gguf")):
        resolved = find(part)
        assert resolved is not None and resolved.path.resolve() == expected[name][1]
        assert name == part or part == "mine" or name in resolved.notice
    tune = find("someone/tune")
    assert tune is not None and tune.path.resolve() == expected["someone/tune:latest"][1]
    with pytest.raises(UnknownModel, match=r"several models have this name: .*maker/model-GGUF.*llama3.2:1b \(Ollama"):
        find("m")
    with pytest.raises(UnknownModel, match="no such file, and no model here"):
        find("nothing of the kind")


def test_a_repository_without_a_file_takes_what_is_in_the_cache(home: Path) -> None:
    assert find("maker/model") is None
    path = hub_file(home, "maker/model", "m.Q8_0.gguf")
    resolved = find("maker/model")
    assert resolved is not None
    assert (resolved.path, resolved.notice) == (path, "maker/model: using m.Q8_0.gguf")
    assert find("maker/model:Q4_0") is None, "that one may be on the hub"
    better = hub_file(home, "maker/model", "m.Q4_K_M.gguf")
    assert (found := find("hf:maker/model")) and found.path == better
    assert (found := find("maker/model:q8_0")) and found.path == path


@pytest.mark.skipif("sys.platform != 'linux'", reason="the folders' names are those of Linux")
def test_a_repository_can_be_one_that_another_program_has(home: Path) -> None:
    path = gguf(home / ".lmstudio" / "models" / "pub" / "repo" / "r.Q8_0.gguf")
    gguf(home / ".lmstudio" / "models" / "pub" / "repo" / "r.Q2_K.gguf")
    for name in ("pub/repo", "pub/repo:q8_0", "pub/repo:r.Q8_0.gguf"):
        found = find(name)
        assert found is not None and found.path == path, name
        assert name in found.notice or ":r.Q8_0" in name
    assert find("pub/repo:Q4_0") is None, "that one may be on the hub"


@pytest.mark.skipif("sys.platform != 'linux'", reason="the folders' names are those of Linux")
def test_what_cannot_be_looked_at_hides_nothing_else(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed folders, links that lead nowhere or in a circle, folders named like models, names that are not UTF-8."""
    expected = everywhere(home)
    models = home / "work" / "models"
    for name, target in (("dangling.gguf", "nowhere"), ("circle.gguf", "circle.gguf")):
        (models / name).symlink_to(target)
    (models / "folder.gguf").mkdir()
    odd = Path(os.fsdecode(os.fsencode(models) + b"/caf\xe9.gguf"))
    gguf(odd)
    for folder in ("repo", "a", "z"):
        gguf(home / ".lmstudio" / "models" / "pub" / folder / "closed.gguf")
    snapshot = hub_file(home, "maker/lost", "lost.gguf")
    snapshot.unlink()
    snapshot.symlink_to("../../blobs/none")
    status = Path.stat

    def refuse(path: Path, **more: bool) -> os.stat_result:  # permissions would not stop a test that runs as root
        if path.name == "closed.gguf":
            raise PermissionError(errno.EACCES, "Permission denied")
        return status(path, **more)

    monkeypatch.setattr(Path, "stat", refuse)
    found = {place.name for place in on_disk() if place.source != "bundled"}
    assert found == {*expected, odd.name}
    assert find("maker/lost") is None
    unusable = {entry.file.name for entry in catalogue() if isinstance(entry.about, str)}
    assert unusable == found, "none of them is a real one"


def test_files_that_vanish_meanwhile_are_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = gguf(home / "work" / "models" / "here.gguf")
    seen = on_disk()
    path.unlink()
    monkeypatch.setattr(discovery, "on_disk", lambda: seen)
    (entry,) = (entry for entry in catalogue() if entry.file.source == "models/")
    assert (entry.size, entry.about) == (0, "part here.gguf is missing")


def test_split_models_are_one_model_and_must_be_whole(home: Path) -> None:
    folder = home / "work" / "models"
    first, second = (gguf(folder / f"big-0000{i}-of-00002.gguf") for i in (1, 2))
    (place,) = (place for place in on_disk() if place.source == "models/")
    assert place.path.name == first.name and len(place.parts) == 2 and not place.missing
    assert place.size == first.stat().st_size + second.stat().st_size
    for name in ("big", first.name, second.name, str(second)):
        resolved = find(name)
        assert resolved is not None and resolved.path.resolve() == first
    second.unlink()
    (place,) = (place for place in on_disk() if place.source == "models/")
    assert place.missing is not None and place.missing.name == second.name
    with pytest.raises(UnknownModel, match=r"of its 2 parts, big-00002-of-00002\.gguf is missing"):
        find(first.name)


def test_of_a_split_model_in_the_hubs_cache_the_missing_parts_are_fetched(home: Path) -> None:
    first, second = (f"big.Q8_0-0000{i}-of-00002.gguf" for i in (1, 2))
    hub_file(home, "maker/big", first)
    for name in (f"maker/big:{first}", f"maker/big:{second}", "maker/big:q8_0", "maker/big"):
        assert find(name) is None, name
    hub_file(home, "maker/big", second)
    for name in (f"maker/big:{first}", f"maker/big:{second}", "maker/big:q8_0", "maker/big"):
        found = find(name)
        assert found is not None and found.path.name == first, name


@pytest.mark.parametrize(
    "manifest",
    [b"", b"{}", b"[]", b'{"layers": 3}', b'{"layers": [{"mediaType": 1}]}', b"[" * 100_000, b"\xff",
     b'{"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:../../etc/passwd"}]}'],
)  # fmt: skip
def test_manifests_that_say_nothing_are_passed_over(home: Path, manifest: bytes) -> None:
    ollama(home, "library", "good", "latest")
    path = home / ".ollama" / "models" / "manifests" / "registry.ollama.ai" / "library" / "bad" / "latest"
    path.parent.mkdir(parents=True)
    path.write_bytes(manifest)
    assert [place.name for place in on_disk() if place.source == "Ollama"] == ["good:latest"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name on Windows")
def test_pipes_and_devices_in_the_folders_of_others_are_passed_over(home: Path) -> None:
    ollama(home, "library", "good", "latest")
    for name, make in (("pipe", os.mkfifo), ("zeros", lambda path: path.symlink_to("/dev/zero"))):
        manifest = home / ".ollama" / "models" / "manifests" / "registry.ollama.ai" / "library" / name / "latest"
        manifest.parent.mkdir(parents=True)
        make(manifest)
    hub_file(home, "maker/model", "m.Q8_0.gguf")
    main = home / ".cache" / "huggingface" / "hub" / "models--maker--model" / "refs" / "main"
    main.unlink()
    os.mkfifo(main)
    assert [place.name for place in on_disk() if place.source == "Ollama"] == ["good:latest"]
    found = find("maker/model@main")
    assert found is not None and "using maker/model@bbbbbbbbbbbb:m.Q8_0.gguf" in found.notice, (
        "which main is, is not known"
    )


def test_one_file_in_two_places_is_listed_once(home: Path) -> None:
    path = hub_file(home, "maker/model", "m.Q8_0.gguf")
    (home / "work" / "models").mkdir()
    (home / "work" / "models" / "mine.gguf").symlink_to(path)
    assert [place.name for place in on_disk() if place.source != "bundled"] == ["mine.gguf"]


def test_the_other_programs_own_settings_count(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_CACHE", str(home / "elsewhere"))
    gguf(home / "elsewhere" / "a.gguf")
    monkeypatch.setenv("HF_HUB_CACHE", str(home / "cache"))
    assert hub_cache.folder() == home / "cache"
    assert [place.name for place in on_disk() if place.source == "llama.cpp"] == ["a.gguf"]


def revision_of(home: Path, repo: str, commit: str, file: str) -> Path:
    base = home / ".cache" / "huggingface" / "hub" / f"models--{repo.replace('/', '--')}"
    return gguf(base / "snapshots" / commit / file)


def test_revisions_other_than_main_are_found(home: Path) -> None:
    """Of a repository whose main branch is not here, and beside it."""
    base = home / ".cache" / "huggingface" / "hub" / "models--maker--model"
    old, new, third = "1" * 40, "2" * 40, "3" * 40
    paths = [revision_of(home, "maker/model", commit, "m.Q8_0.gguf") for commit in (old, third)]
    reference = base / "refs" / "refs" / "pr" / "1"
    reference.parent.mkdir(parents=True)
    reference.write_text(old)
    names = [place.name for place in on_disk() if place.source == "Hugging Face"]
    assert names == ["maker/model@refs/pr/1:m.Q8_0.gguf", "maker/model@333333333333:m.Q8_0.gguf"]
    for name in (names[0], f"maker/model@{old}", "maker/model@1111111:Q8_0"):
        resolved = find(name)
        assert resolved is not None and resolved.path == paths[0], name
    url = "https://huggingface.co/maker/model/resolve/{}/m.Q8_0.gguf?download=true"
    resolved = find(url.format(third))
    assert resolved is not None and resolved.path == paths[1]
    resolved = find("maker/model")
    assert resolved is not None and "using maker/model@refs/pr/1:m.Q8_0.gguf (Hugging Face)" in resolved.notice
    assert find("maker/model@v9") is None, "the hub may have it"
    main = revision_of(home, "maker/model", new, "m.Q8_0.gguf")
    (base / "refs" / "main").write_text(new)
    for name in ("maker/model", "hf.co/maker/model:Q8_0", url.format("main"), "hf://maker/model/m.Q8_0.gguf"):
        resolved = find(name)
        assert resolved is not None and resolved.path == main, name


@pytest.mark.parametrize("commit", ["../../../../elsewhere", "/etc", "..", "a/b", "", "a\0b", "\n"])
def test_a_reference_in_the_cache_leads_nowhere_else(home: Path, commit: str) -> None:
    base = home / ".cache" / "huggingface" / "hub" / "models--maker--model"
    (base / "refs").mkdir(parents=True)
    (base / "snapshots" / "a" / "b").mkdir(parents=True)
    gguf(base / "snapshots" / "a" / "b" / "m.gguf")
    gguf(home / "elsewhere" / "m.gguf")
    (base / "refs" / "main").write_text(commit)
    assert hub_cache.snapshot("maker/model") is None
    for revision in ("../refs", "..", "/", "refs/../..", "a\0"):
        assert hub_cache.snapshot("maker/model", revision) is None


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"HF_HOME": "$HOME/x"}, "x/hub"),
        ({"HF_HOME": "~/x"}, "x/hub"),
        ({"HF_HOME": ""}, ".cache/huggingface/hub"),
        ({"HUGGINGFACE_HUB_CACHE": "~/old"}, "old"),
        ({"HUGGINGFACE_HUB_CACHE": "~/old", "HF_HUB_CACHE": ""}, "old"),
        ({"HF_HUB_CACHE": "${HOME}/c", "HF_HOME": "/nowhere"}, "c"),
        ({"HF_HUB_CACHE": " "}, ".cache/huggingface/hub"),
        ({"XDG_CACHE_HOME": ""}, ".cache/huggingface/hub"),
        ({"HF_HUB_DOWNLOAD_TIMEOUT": "soon"}, ".cache/huggingface/hub"),
        ({"HF_HUB_DOWNLOAD_TIMEOUT": "", "HF_HOME": "~/x"}, "x/hub"),
    ],
)
def test_the_hubs_cache_is_where_its_client_has_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert hub_cache.folder() == home / expected


def test_names_that_tell_of_many_parts_cost_no_more_than_the_files_there_are(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixty empty files, each a first part of thousands: looked for is the first that is missing."""
    folder = home / "work" / "models"
    folder.mkdir()
    for number in range(30):
        (folder / f"a{number}-00001-of-99999.gguf").touch()
        (folder / f"b{number}-00001-of-{model_reference.MOST_PARTS:05}.gguf").touch()
    asked: list[Path] = []
    is_file = discovery._is_file
    monkeypatch.setattr(discovery, "_is_file", lambda path: asked.append(path) or is_file(path))  # type: ignore[func-returns-value]
    found = catalogue()
    assert len(found) == 61 and all(isinstance(entry.about, str) for entry in found[:60])
    assert len(asked) < 400, "and not millions"


def test_models_that_were_opened_by_their_path_are_listed_once(home: Path, tmp_path: Path) -> None:
    known, other = home / "work" / "models" / "known.gguf", tmp_path / "elsewhere" / "other.gguf"
    for path in (known, other):
        path.parent.mkdir(parents=True, exist_ok=True)
        gguf(path)
    again = tmp_path / "again.gguf"
    again.symlink_to(other)
    found = [entry.file for entry in catalogue([known, other, again, tmp_path / "gone.gguf"])]
    assert [(place.name, place.path) for place in found if place.source == "opened"] == [("again.gguf", again)]
    assert sum(place.path.resolve() == known.resolve() for place in found) == 1


def test_links_that_go_round_are_passed_over(home: Path) -> None:
    folder = home / "work" / "models"
    folder.mkdir()
    (folder / "round.gguf").symlink_to(folder / "round.gguf")
    (folder / "up").symlink_to(folder)
    gguf(folder / "good.gguf")
    path = revision_of(home, "maker/model", "1" * 40, "m.gguf")
    (path.parent / "again").symlink_to(path.parent)
    (path.parent / "round.gguf").symlink_to(path.parent / "round.gguf")
    names = [place.name for place in on_disk() if place.source != "bundled"]
    assert names == ["good.gguf", "maker/model@111111111111:m.gguf"]
    resolved = find("maker/model@1111111")
    assert resolved is not None and resolved.path == path


def test_a_folder_that_was_removed_has_no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> str:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(os, "getcwd", gone)
    assert [path.name for path in discovery.own_folders()] == ["models"]
