"""Read repositories of models from disk: what is there, what of it should be served, and what is wrong with the rest.

Receives repository folders in Triton's layout, `MODEL/VERSION/model.onnx` with `config.yaml` or `config.pbtxt` beside
the versions; hands a `Scan` to the sources. Reads and never writes; keeps nothing between two scans.

1. A model that is broken is a `Problem` with its reason and never stops the others.
2. Nothing outside the repository is read: links may lead anywhere inside it and nowhere else.
3. Hidden folders and whatever is no positive number without leading zeros are no versions; hidden files do not count.
4. The policy chooses among the versions whose model file is there, so a folder that is still empty changes nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

from headrace.config import ModelConfig
from headrace.errors import ConfigError, RepositoryError
from headrace.models import ModelId
from model_repo import config_yaml, versions
from model_repo.declared import Declared
from model_repo.found import NAME_CHARS, NAME_RULE, NOT_LOADED, NOT_THERE, ModelScan, Problem, Scan, is_model_name
from model_repo.override import AS_IT_IS, NONE, Override
from model_repo.routing import Routing
from model_repo.spec import VersionSpec

WARMUP = (".json", ".npz")
"""Endings of files with requests to warm up with, in the folder `warmup` beside the versions."""
VERSION = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
NO_MODELS = ("lost+found",)
"""Folders that file systems, not people, put into a repository."""
NOT_LOADED_AGAIN = {"versions", "version_labels", "traffic", "sticky"}
"""Settings that say who gets which version, not what a version is: changing them loads nothing again."""
TEXT_BYTES = 16 << 20
"""Largest label or configuration file that is read."""


def scan(
    repositories: Sequence[Path], names: Collection[str] | None = None, overrides: Mapping[str, Override] = NONE
) -> Scan:
    """Read all repositories. With `names`, only those models; the others are listed as not loaded.

    Of a model with an override, what that says counts instead of what the repository says; it need not be there.
    Raises RepositoryError if a repository itself cannot be read. Blocking: call it where that does no harm.
    """
    folders: dict[str, list[Path]] = {}
    for repository in dict.fromkeys(path.resolve() for path in repositories):
        for folder in _folders(repository):
            folders.setdefault(folder.name, []).append(folder)
    for name, override in overrides.items():
        if override.folder is not None:
            folders[name] = [override.folder]
    models = {}
    for name in sorted(folders):
        shown = _printable(name)
        if names is not None and name not in names:
            models[shown] = _broken(shown, NOT_LOADED)
        else:
            models[shown] = _model(shown, folders[name], overrides.get(name, AS_IT_IS))
    for name in sorted(set(names or ()) - set(folders)):
        models[_printable(name)] = _broken(_printable(name), NOT_THERE)
    return Scan(models)


def _model(name: str, folders: Sequence[Path], override: Override) -> ModelScan:
    if len(folders) > 1:
        return _broken(name, f"is in more than one repository: {', '.join(str(folder.parent) for folder in folders)}")
    if not is_model_name(folders[0].name):
        return _broken(name, f"the folder's name is no model name: {NAME_RULE}")
    try:
        return _read(name, folders[0], override)
    except (RepositoryError, ConfigError) as error:
        return _broken(name, str(error))
    except OSError as error:
        return _broken(name, _os_reason(error, folders[0]))


def _read(name: str, folder: Path, override: Override) -> ModelScan:
    _check_inside(folder, folder.parent)
    declared = _declared(name, folder, override)
    config = declared.config
    labels = {output: _labels(folder, file) for output, file in sorted(config.labels.items())}
    warmup = _warmup(folder)
    settings = repr(
        (config.model_dump(exclude=NOT_LOADED_AGAIN), labels, declared.inputs, declared.outputs, override.serial)
    )
    there = _versions(folder)
    if config.versions == ():
        raise RepositoryError("the configuration names no version to serve")
    if not there:
        raise RepositoryError(f"no version found: expected {name}/1/{declared.model_filename}")
    specs: dict[int, VersionSpec] = {}
    problems: dict[int, Problem] = {}
    for version in there:
        try:
            model_file = folder / str(version) / declared.model_filename
            fingerprint, size = _fingerprint(model_file, folder.parent, settings)
        except RepositoryError as error:
            problems[version] = _problem(name, version, str(error))
        except OSError as error:
            problems[version] = _problem(name, version, _os_reason(error, folder))
        else:
            id = ModelId(name, version)
            tensors = declared.inputs, declared.outputs
            specs[version] = VersionSpec(id, model_file, config, fingerprint, labels, *tensors, warmup, size)
    # A broken version that the policy would not have chosen anyway is no news.
    reported = [problems[version] for version in versions.choose(config.versions, there) if version in problems]
    for version in versions.missing(config.versions, there):
        found = ", ".join(map(str, there))
        reported.append(_problem(name, version, f"the configuration names version {version}; there is {found}"))
    served = versions.choose(config.versions, specs)
    reported += _labels_of_none(name, config, served, {problem.version for problem in reported})
    routing = Routing(config.version_labels, config.traffic, config.sticky == "request_id")
    return ModelScan(tuple(specs[version] for version in served), tuple(reported), routing)


def _labels_of_none(
    name: str, config: ModelConfig, served: Collection[int], known: Collection[int | None]
) -> Iterator[Problem]:
    """A problem for each label whose version is not served, unless that version has one already."""
    for label, version in config.version_labels.items():
        if version not in served and version not in known:
            found = ", ".join(map(str, served)) or "none"
            yield _problem(name, version, f"label {label!r} names version {version}, which is not served; {found} is")


def _declared(name: str, folder: Path, override: Override) -> Declared:
    """The model's configuration, from whichever file it has, unless the override brings one.

    Who has no `config.pbtxt` starts without its parser: 50 ms of imports, gRPC among them.
    """
    if override.config:
        from model_repo import pbtxt  # noqa: PLC0415

        return pbtxt.parse_json(override.config, "parameter config", name)
    yaml_file, pbtxt_file = folder / "config.yaml", folder / "config.pbtxt"
    has_yaml, has_pbtxt = _exists(yaml_file), _exists(pbtxt_file)
    if has_yaml and has_pbtxt:
        raise RepositoryError(f"both {name}/config.yaml and {name}/config.pbtxt are there; keep one")
    if has_yaml:
        return Declared(config_yaml.parse(_text(yaml_file, folder), f"{name}/config.yaml"))
    if has_pbtxt:
        from model_repo import pbtxt  # noqa: PLC0415

        return pbtxt.parse(_text(pbtxt_file, folder), f"{name}/config.pbtxt", name)
    return Declared(ModelConfig())


def _labels(folder: Path, file: str) -> tuple[str, ...]:
    text = _text(folder / file, folder)
    return tuple(line.strip() for line in text.rstrip().split("\n"))


def _warmup(folder: Path) -> tuple[Path, ...]:
    """Requests to warm the model up with. They may change without a reload."""
    files = sorted(path for suffix in WARMUP for path in (folder / "warmup").glob(f"*{suffix}") if path.name[0] != ".")
    for file in files:
        _check_inside(file, folder.parent)
    return tuple(files)


def _text(path: Path, folder: Path) -> str:
    """A small text file of the model in `folder`."""
    where = _shown(path, folder.parent)
    _check_inside(path, folder.parent)
    if not path.is_file():
        raise RepositoryError(f"{where} is not there, or no file")
    if path.stat().st_size > TEXT_BYTES:
        raise RepositoryError(f"{where} has {path.stat().st_size} bytes; at most {TEXT_BYTES} are read")
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RepositoryError(f"{where} is not UTF-8 text: {error.reason} at byte {error.start}") from None


def _folders(repository: Path) -> list[Path]:
    try:
        entries = [path for path in repository.iterdir() if not path.name.startswith(".") and path.is_dir()]
    except OSError as error:
        raise RepositoryError(f"model repository {repository} cannot be read: {error.strerror}") from None
    return [path for path in entries if path.name not in NO_MODELS]


def _versions(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in folder.iterdir() if VERSION.fullmatch(path.name) and path.is_dir())


def _fingerprint(model_file: Path, repository: Path, settings: str) -> tuple[str, int]:
    """Changes when a file of the version or a setting does; reads no file. Modes and access times do not matter.

    With it the bytes of the files.
    """
    size = 0
    digest = blake2b(settings.encode("utf-8", "surrogateescape"), digest_size=16)
    _check_inside(model_file.parent, repository)
    if not model_file.is_file():
        raise RepositoryError(f"no model file: expected {model_file.relative_to(repository)}")
    for path in _files(model_file.parent):
        if path.is_symlink():
            _check_inside(path, repository)
        stat = path.stat()
        size += stat.st_size
        row = f"\0{path.relative_to(repository)}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ino}"
        digest.update(row.encode("utf-8", "surrogateescape"))
    return digest.hexdigest(), size


def _files(folder: Path) -> Iterator[Path]:
    """Files below, hidden ones left out: that is what copying tools call what they have not finished."""
    for directory, subfolders, files in os.walk(folder):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        yield from (Path(directory, name) for name in sorted(files) if not name.startswith("."))


def _check_inside(path: Path, repository: Path) -> None:
    try:
        target = path.resolve()
    except (OSError, RuntimeError, ValueError):  # a loop of links, a NUL in the name: nothing can be read there
        target = path
    if not target.is_relative_to(repository):
        raise RepositoryError(f"{_shown(path, repository)} leads out of the repository, to {target}")


def _broken(name: str, reason: str) -> ModelScan:
    return ModelScan(problems=(_problem(name, None, reason),))


def _problem(name: str, version: int | None, reason: str) -> Problem:
    """With a reason that can be sent: file names need not be text."""
    return Problem(name, version, reason.encode("utf-8", "backslashreplace").decode())


def _exists(path: Path) -> bool:
    """Whether somebody put something there, be it a link to nothing: that is reported, not passed over."""
    return path.is_symlink() or path.exists()


def _shown(path: Path, repository: Path) -> str:
    return str(path.relative_to(repository) if path.is_relative_to(repository) else path)


def _os_reason(error: OSError, folder: Path) -> str:
    path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else folder
    return f"{_shown(path, folder.parent)} cannot be read: {error.strerror}"


def _printable(name: str) -> str:
    """A name that can be shown and sent: folder names may hold anything but "/" and NUL, even what is no text."""
    return name if name.isprintable() and len(name) <= NAME_CHARS else repr(name)[1:-1][:NAME_CHARS]
