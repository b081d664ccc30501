"""`AuditResult`: what a Python user holds of an audit, fresh or read back from its directory."""

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from html import escape
from pathlib import Path

import pyarrow as pa

from isologit.audit_tables import AuditTables, read_audit
from isologit.checkpoint.wording import shown
from isologit.findings import Audit
from isologit.output.directory import OURS, Writer, write_directory
from isologit.output.drawing import Drawing
from isologit.output.pictured import Pictured
from isologit.output.result_html import result_html
from isologit.output.single_file import write_file
from isologit.request import Members, Pole
from isologit.result_files import unreadable
from isologit.steps import Arrays
from isologit.subject import Progress, Settings, silent


@dataclass(frozen=True, eq=False, repr=False)
class AuditResult:
    """An audit: its findings, its tokens, its figures, and the files that are made of them.

    Make one with `of` or `read`; a notebook shows it in short.

    Parameters
    ----------
    findings
        The figures: what ``isologit audit --json`` prints.
    source
        The arrays behind them; or the directory that they were read from, and its table.
    """

    findings: Audit
    source: "Arrays | StoredAudit"

    @classmethod
    def of(
        cls,
        spec: str | os.PathLike[str],
        settings: Settings | None = None,
        *,
        pole: Pole | None = None,
        members: Members | str | os.PathLike[str] | None = None,
        reachable: bool = False,
        progress: Progress = silent,
    ) -> "AuditResult":
        """Audit a checkpoint.

        Parameters
        ----------
        spec
            A path, or ``org/name[@revision]`` of the hub.
        settings
            Which tensor, which arithmetic, which tokenizer.
        pole
            Take the fullest cosine class there as the cluster.
        members
            Take these as the cluster; or the file that lists them, such as the seed's 1.4a.
        reachable
            Take the logits at a state that the final norm can output.
        progress
            Called with the name of each step; ``print`` is one.

        Raises
        ------
        IsologitError
            The checkpoint cannot be read, or the members or the pole cannot be used.
        """
        from isologit.audit import audit
        from isologit.output.members import read_members

        if members is not None and not isinstance(members, Members):
            members = read_members(Path(members))
        return cls(
            *audit(
                os.fspath(spec),
                settings,
                pole=pole,
                members=members,
                reachable=reachable,
                progress=progress,
            )
        )

    @classmethod
    def read(cls, directory: str | os.PathLike[str]) -> "AuditResult":
        """Read what `save`, or ``isologit audit -o``, wrote.

        Raises
        ------
        ResultsError
            The directory is not what an audit writes.
        """
        found = read_audit(Path(directory), whole=True)
        return cls(found.findings, StoredAudit(Path(directory), found.tokens))

    @cached_property
    def tokens(self) -> pa.Table:
        """The table of ``tokens.parquet``, whose columns docs/outputs.md explains."""
        if isinstance(self.source, StoredAudit):
            return self.source.tokens
        from isologit.output.parquet import token_columns

        return token_columns(self.source)

    @cached_property
    def figures(self) -> "Drawings":
        """The report's figures by name, as ``figures.logit_ranks`` or an item."""
        return Drawings(self._tables)

    def save(
        self, directory: str | os.PathLike[str], *, report: bool = True, force: bool = False
    ) -> list[Path]:
        """Write the directory that ``isologit audit -o`` writes, and return its files.

        Parameters
        ----------
        directory
            All of it, or nothing, is made. The files of a result that was read are copied.
        report
            Write ``report.html`` too.
        force
            Replace an earlier directory of isologit's.

        Raises
        ------
        OutputExistsError, OutputWriteError
        """
        target = Path(directory)
        if not isinstance(self.source, StoredAudit):
            from isologit.output.results import write_results

            return write_results(
                target, self.findings, self.source, tokens=self.tokens, report=report, force=force
            )
        files = self.source.files()
        if report:
            page = self._page()
            files["report.html"] = lambda path: _write(path, page)
        return write_directory(target, files, force=force)

    def report(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the report, one page of HTML that needs nothing else, and return its path.

        Raises
        ------
        OutputExistsError, OutputWriteError
        """
        return write_file(Path(path), self._page(), force=force)

    def __repr__(self) -> str:
        from isologit.output.verdicts import verdict

        return f"<AuditResult of {shown(self.findings.model.name)}: {verdict(self.findings)}>"

    def _repr_html_(self) -> str:
        return result_html(self.findings)

    @property
    def _tables(self) -> AuditTables:
        return AuditTables(self.findings, self.tokens)

    def _page(self) -> bytes:
        from isologit.output.report import report_html

        return report_html(self._tables).encode()


@dataclass(frozen=True, eq=False)
class StoredAudit:
    """The directory of an audit, and the whole of its table."""

    directory: Path
    tokens: pa.Table

    def files(self) -> dict[str, Writer]:
        """Return what copies each of the audit's files, but for the report."""
        try:
            held = sorted(self.directory.iterdir())
        except OSError as error:
            raise unreadable(self.directory, error) from error
        return {
            path.name: partial(shutil.copyfile, path)
            for path in held
            if path.name in OURS - {"report.html"}
        }


class Drawings(Mapping[str, Drawing]):
    """The figures of an audit by their names, made at the first question."""

    def __init__(self, audit: AuditTables) -> None:
        self._audit = audit

    @cached_property
    def _made(self) -> dict[str, Drawing]:
        from isologit.output.figures import drawings

        return {each.key: each for each in drawings(self._pictured)}

    @cached_property
    def _left_out(self) -> list[str]:
        from isologit.output.figures import left_out

        return left_out(self._pictured)

    @cached_property
    def _pictured(self) -> Pictured:
        return Pictured.of(self._audit)

    def __getitem__(self, key: str) -> Drawing:
        if key not in self._made:
            raise KeyError(self._no(key))
        return self._made[key]

    def __getattr__(self, name: str) -> Drawing:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self._made:
            raise AttributeError(self._no(name))
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._made]

    def __repr__(self) -> str:
        return f"<figures: {', '.join(self._made) or 'none'}>"

    def _repr_html_(self) -> str:
        items = [f"<code>{key}</code> {escape(each.title)}" for key, each in self._made.items()]
        items += map(escape, self._left_out)
        return f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>"

    def _no(self, name: str) -> str:
        has = f"this audit has no figure {name!r}; it has {', '.join(self._made) or 'none'}"
        return ". ".join([has, *self._left_out])


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
