"""What is a model of the hub and what a path: by spelling alone, and a typo is never a request."""

from pathlib import Path

import pytest

from isologit.checkpoint.hub.spec import HubSpec, looks_local, parse_hub_spec
from isologit.errors import CheckpointNotFoundError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("org/name", HubSpec("org/name")),
        ("Qwen/Qwen2.5-0.5B", HubSpec("Qwen/Qwen2.5-0.5B")),
        ("org/name@main", HubSpec("org/name", "main")),
        ("org/name@refs/pr/1", HubSpec("org/name", "refs/pr/1")),
        ("org/name@feature/x", HubSpec("org/name", "feature/x")),
        (f"org/name@{COMMIT}", HubSpec("org/name", COMMIT)),
        ("org/name@v1.0+cu", HubSpec("org/name", "v1.0+cu")),
        ("o_r-g/n.a_m-e", HubSpec("o_r-g/n.a_m-e")),
        ("org/" + "n" * 96, HubSpec("org/" + "n" * 96)),
        ("hf://org/name", HubSpec("org/name")),
        ("hf://models/org/name", HubSpec("org/name")),
        ("hf://org/name@main", HubSpec("org/name", "main")),
        ("hf://org/name@feature/x", HubSpec("org/name", "feature/x")),
        ("hf://org/name@refs/pr/1", HubSpec("org/name", "refs/pr/1")),
        ("hf://org/name@refs%2Fpr%2F1", HubSpec("org/name", "refs/pr/1")),
        ("hf://org/name@feature%2Fx/a/b.gguf", HubSpec("org/name", "feature/x", "a/b.gguf")),
        ("hf://org/name@main/a.safetensors", HubSpec("org/name", "main", "a.safetensors")),
        ("hf://org/name@refs/pr/1/a.gguf", HubSpec("org/name", "refs/pr/1", "a.gguf")),
        ("hf://org/name/sub/a.safetensors", HubSpec("org/name", None, "sub/a.safetensors")),
        ("hf://org/name/whatever", HubSpec("org/name", None, "whatever")),
        ("hf://gpt2", HubSpec("gpt2")),
        ("hf://gpt2@main", HubSpec("gpt2", "main")),
        ("hf://gpt2/model.safetensors", HubSpec("gpt2", None, "model.safetensors")),
        ("hf://gpt2@main/model.safetensors", HubSpec("gpt2", "main", "model.safetensors")),
    ],
)
def test_a_model_of_the_hub_is_recognised(text: str, expected: HubSpec) -> None:
    assert parse_hub_spec(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "model", "gpt2", ".", "..", "~", "./a", "../a", "~/a", "/a/b", "a/", "a/b/"),
        *("a//b", "a/b/c", "models/llama/7b", "a\\b", "C:\\a", "C:/a", "c:a/b", "\\\\host\\share"),
        *("a/b.safetensors", "a/b.gguf", "a/b.GGUF", "a/b.bin", "a/b.pt", "a/b.pth", "a/b.npy"),
        *("a/b.npz", "a/config.json", "a/b.ckpt", "a/b.h5", "a/b.bin@main", "a/b.txt"),
        *("org/na me", "org/näme", "org/name ", " org/name", "org/name\n", "org/name?x=1"),
        *(
            "-org/name",
            "org/-name",
            "org-/name",
            "org/name-",
            "org/name.",
            ".org/name",
            "org/.name",
        ),
        *("org/na--me", "org/na..me", "org/name.git", "org/" + "n" * 97, "org/name:tag"),
        *("org/name@", "org/name@..", "org/name@a..b", "org/name@/etc/passwd", "org/name@a/"),
        *("org/name@a b", "org/name@a\\b", "org/name@a:b", "org/name@a~1", "org/name@" + "r" * 300),
        *("https://huggingface.co/org/name", "http://x/y", "file:///a/b", "org/name\0"),
    ],
)
def test_what_may_be_a_path_is_no_model(text: str) -> None:
    assert parse_hub_spec(text) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hf://", "the name '' is not one that the hub allows"),
        ("hf:///", "not one that the hub allows"),
        ("hf:///etc/passwd", "not one that the hub allows"),
        ("hf://org/", "not one that the hub allows"),
        ("hf://org/na me", "not one that the hub allows"),
        ("hf://../name", "not one that the hub allows"),
        ("hf://org/name@", "is no revision"),
        ("hf://org/name@..", "is no revision"),
        ("hf://org/name@..%2F..%2Fetc", "is no revision"),
        ("hf://org/name@%2Fetc", "is no revision"),
        ("hf://org/name@a\x1b[31m", r"a\x1b[31m is no revision"),
        ("hf://org/name/", "is no file's path"),
        ("hf://org/name/../x.bin", "../x.bin is no file's path"),
        ("hf://org/name@main//x.bin", "/x.bin is no file's path"),
        ("hf://org/name/a\\b.bin", "is no file's path"),
        ("hf://org/name/C:/b.bin", "is no file's path"),
        ("hf://datasets/org/name", "names one of the hub's datasets"),
        ("hf://spaces/org/name", "names one of the hub's spaces"),
    ],
)
def test_an_address_that_names_no_model_is_refused_in_one_line(text: str, says: str) -> None:
    with pytest.raises(CheckpointNotFoundError) as refused:
        parse_hub_spec(text)
    assert says in str(refused.value)
    assert "expected" in str(refused.value)
    assert "hf://org/name[@revision][/file]" in str(refused.value)
    assert str(refused.value).isprintable()


def test_a_spec_is_written_as_an_address_that_means_the_same() -> None:
    for text in ("hf://org/name", "hf://org/name@main/a.gguf", "hf://gpt2", "hf://a/b@refs/pr/1"):
        spec = parse_hub_spec(text)
        assert str(spec) == text
        assert parse_hub_spec(str(spec)) == spec


def test_a_name_whose_folder_exists_is_a_path_with_a_typo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "file").write_text("")
    assert looks_local("models/lama")
    assert looks_local("models")
    assert looks_local("models\\lama")
    assert not looks_local("file/lama")
    assert not looks_local("org/name")
    assert not looks_local("hf://models/lama")
    assert not looks_local("n" * 5000 + "/name")
    assert not looks_local("a\0b/name")
