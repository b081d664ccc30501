"""A folder in which what the docs name is there: MODEL and its like, files, real checkpoints."""

import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from checkpoints import cluster_tensors, write_cluster
from documentation.blocks import REPOSITORY
from documentation.sessions import with_programs
from hub.hub_server import Hub
from isologit.demo import checkpoint_path

# What a page says where any model will do is the embedded one, which has a tokenizer and padding.
MODELS = ("MODEL", "BASE", "INSTRUCT", "OLDER")
_ROWS, _WIDTH = 4096, 96


def prepare(folder: Path) -> Path:
    """Write the files that pages name, and return the folder."""
    with_programs(folder)
    for name in MODELS:
        (folder / name).symlink_to(checkpoint_path())
    shutil.copy(REPOSITORY / "docs" / "examples" / "policy.toml", folder)
    members = cluster_tensors(range(120, 160), _ROWS)
    write_cluster(folder / "1.4a_cluster_members.safetensors", members)
    states = np.random.default_rng(0).normal(size=(3, _WIDTH)).astype(np.float32)
    np.save(folder / "hidden.npy", states[0])
    for name in ("hidden.safetensors", "states.safetensors"):
        save_file({"hidden_states": states}, folder / name)
    return folder


def add_real_ones(folder: Path, shared: Path) -> None:
    """Link real checkpoints and tokenizers, by their names alone and in their folders."""
    checkpoints = shared / "checkpoints"
    for each in (checkpoints, shared / "tokenizers", *checkpoints.iterdir()):
        (folder / each.name).symlink_to(each)


def publish(hub: Hub, folder: Path, shared: Path) -> None:
    """Put the models that pages fetch on a hub."""
    hub.add("org/llama", shared / "checkpoints" / "llama2xs-hf-bf16-untied-sharded")
    several = folder / "several"
    several.mkdir()
    for name in ("llama2xs-Q8_0.gguf", "llama2xs-F16.gguf"):
        shutil.copy(shared / "checkpoints" / name, several)
    hub.add("org/llama-GGUF", several)
    files = folder / "published"
    shutil.copytree(checkpoint_path(), files)
    shutil.copy(shared / "checkpoints" / "llama2xs-Q4_0.gguf", files / "model-Q4_K_M.gguf")
    hub.add("org/name", files, "main", "revision")
