"""A model of the hub: the commit that a revision is, its files, and those that lie here already.

The revision is resolved first; everything after that is asked of the commit, so that all of a run
is of one version of the model.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from isologit.checkpoint.bytes import MappedFile
from isologit.checkpoint.hub import client
from isologit.checkpoint.hub.address import Address
from isologit.checkpoint.hub.cache import cache_bound
from isologit.checkpoint.hub.client import Listed
from isologit.checkpoint.hub.failures import Lied, Subject, failure_of, no_file, offline
from isologit.checkpoint.hub.hf_cache import (
    cached_commit,
    cached_content,
    cached_file,
    cached_files,
)
from isologit.checkpoint.hub.patience import Patience, patiently
from isologit.checkpoint.hub.progress import Arrived, nothing
from isologit.checkpoint.hub.quiet import quiet
from isologit.checkpoint.hub.records import (
    is_commit,
    note_commit,
    note_files,
    noted_commit,
    noted_files,
)
from isologit.checkpoint.hub.remote import RemoteSource, RemoteTensors
from isologit.checkpoint.hub.spec import HubSpec, is_plain_path
from isologit.checkpoint.hub.store import Key
from isologit.checkpoint.safetensors import read_header
from isologit.checkpoint.tensors import Container, MappedTensors, TensorInfo
from isologit.checkpoint.wording import listed, shown

_DEFAULT_BRANCH = "main"


@dataclass(frozen=True, eq=False)
class HubModel:
    """One commit of a model, whose files are fetched as far as they are needed.

    Parameters
    ----------
    repo_id
        ``org/name``.
    revision
        What was asked for; None for the default branch.
    commit
        What that is: 40 hexadecimal digits.
    files
        The names of its files, and their bytes where those are known.
    """

    repo_id: str
    revision: str | None
    commit: str
    files: Mapping[str, int | None]
    _listed: Mapping[str, Listed] = field(repr=False)
    _arrived: Arrived = field(repr=False)
    _patience: Patience = field(repr=False)
    _answers: Event = field(repr=False)
    _fetched: dict[str, Path] = field(default_factory=dict, init=False, repr=False)

    def path(self, name: str) -> Path:
        """Return where a small file lies in the Hugging Face cache, fetching it whole if need be.

        Raises
        ------
        HubError
            The model has no such file, or it could not be fetched.
        OutputWriteError
            The disk refuses.
        """
        if (lies := self._fetched.get(name) or self.local(name)) is not None:
            return lies
        subject = self._subject(name)
        if client.is_offline():
            raise offline(subject)
        with quiet():
            if not self._answers.is_set():
                # hf_hub_download waits minutes for a hub that does not answer.
                patiently(
                    lambda: client.locate(self.repo_id, self.commit, name),
                    subject,
                    self._patience,
                    Event(),
                )
                self._answers.set()
            self._fetched[name] = patiently(
                lambda: client.download(self.repo_id, self.commit, name),
                subject,
                self._patience,
                Event(),
            )
        return self._fetched[name]

    def local(self, name: str) -> Path | None:
        """Return where a file of this commit lies whole in the Hugging Face cache, or None.

        Raises
        ------
        HubModelNotFoundError
            The model has no such file.
        """
        return cached_file(self.repo_id, self.commit, name, self._of(name).size)

    def container(self, name: str) -> Container:
        """Return the tensors of a safetensors file, of which the header alone is fetched.

        Raises
        ------
        HubError
            The model has no such file, or its header could not be fetched.
        TruncatedFileError, MalformedHeaderError
            As `read_header`.
        """
        file = self._of(name)
        lies = self.local(name) or cached_content(self.repo_id, file.content, file.size)
        if lies is not None:
            mapped = MappedFile(lies)
            return MappedTensors(mapped, read_header(mapped).tensors)
        source = self.source(name)
        return self.remote_tensors(source, read_header(source).tensors)

    def source(self, name: str) -> RemoteSource:
        """Return a file's bytes as they are on the hub, for whoever reads its header.

        Raises
        ------
        HubModelNotFoundError
            The model has no such file.
        """
        file = self._of(name)
        subject = self._subject(name)
        key = Key(self.repo_id, self.commit, name, file.content, "", 0, 0)
        address = Address(subject, file, self._patience)
        return RemoteSource(str(subject), address, key, self._arrived)

    def remote_tensors(
        self, source: RemoteSource, tensors: Mapping[str, TensorInfo]
    ) -> RemoteTensors:
        """Return the tensors that a header tells, however it was read, to be fetched when read."""
        return RemoteTensors(source, tensors)

    def _of(self, name: str) -> Listed:
        if name not in self._listed:
            raise no_file(self._subject(name), listed(map(shown, self._listed)))
        return self._listed[name]

    def _subject(self, name: str) -> Subject:
        return Subject(client.endpoint(), self.repo_id, self.commit, name)


def open_hub(spec: HubSpec, arrived: Arrived = nothing) -> HubModel:
    """Resolve a model of the hub to a commit and its list of files; nothing else is fetched.

    One request; none for a commit whose list is known, nor in offline mode.

    Parameters
    ----------
    spec
        The model; its `file` is for the caller.
    arrived
        Told, from now on, how far the fetch of a tensor is.

    Raises
    ------
    HubError
        The hub does not know the model, does not show it, or cannot be asked.
    CacheBoundError
        ISOLOGIT_CACHE_BYTES is not a size.
    """
    cache_bound()
    subject = Subject(client.endpoint(), spec.repo_id, spec.revision)
    patience = Patience(subject.hub)
    asked_for = spec.revision if is_commit(spec.revision) else None
    known = noted_files(spec.repo_id, asked_for) if asked_for else None
    answers = Event()
    files: Mapping[str, Listed]
    if asked_for and known is not None:
        commit, files = asked_for, known
    elif client.is_offline():
        commit, files = _known(spec, subject)
    else:
        commit, files = _asked(spec, subject, patience)
        answers.set()
    return HubModel(
        repo_id=spec.repo_id,
        revision=spec.revision,
        commit=commit,
        files={name: file.size for name, file in files.items()},
        _listed=files,
        _arrived=arrived,
        _patience=patience,
        _answers=answers,
    )


def _asked(spec: HubSpec, subject: Subject, patience: Patience) -> tuple[str, Mapping[str, Listed]]:
    """Ask the hub, and note what it says."""
    with quiet():
        commit, files = patiently(
            lambda: client.list_files(spec.repo_id, spec.revision), subject, patience, Event()
        )
    if not is_commit(commit) or (is_commit(spec.revision) and commit != spec.revision):
        lie = Lied(f"{subject.hub} says that this is commit {shown(commit)}")
        raise failure_of(lie, subject).final
    # A name that leaves the folder is nobody's file.
    files = {name: file for name, file in files.items() if is_plain_path(name)}
    if not is_commit(spec.revision):
        note_commit(spec.repo_id, spec.revision or _DEFAULT_BRANCH, commit)
    note_files(spec.repo_id, commit, files)
    return commit, files


def _known(spec: HubSpec, subject: Subject) -> tuple[str, Mapping[str, Listed]]:
    """Return what is known without asking: by our notes, or the Hugging Face cache, the newer."""
    commit = spec.revision
    if not is_commit(commit):
        branch = spec.revision or _DEFAULT_BRANCH
        known = [noted_commit(spec.repo_id, branch), cached_commit(spec.repo_id, branch)]
        newest = max(filter(None, known), key=lambda each: each[1], default=None)
        commit = newest[0] if newest else None
    if commit is None or not is_commit(commit):
        raise offline(subject)
    files = noted_files(spec.repo_id, commit)
    if files is None:
        lying = cached_files(spec.repo_id, commit)
        files = {name: Listed(size, None) for name, size in lying.items() if is_plain_path(name)}
    if not files:
        raise offline(subject, "a file of it")
    return commit, files
