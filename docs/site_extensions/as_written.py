"""Signatures as they are written in the source, and links from the short names in them.

Python knows an annotation by what it stands for, and Sphinx shows that: ``Float64s`` as an array of
a type of numpy with its parameters, ``ArrayLike`` as a union of ten. A reader wants the name.
"""

import ast
import inspect
import sys
import textwrap
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

from isologit.record import Record


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect both."""
    app.connect("autodoc-process-signature", as_written)
    app.connect("missing-reference", by_short_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def as_written(
    _app: Sphinx, what: str, _name: str, target: Any, _options: Any, *_found: str | None
) -> tuple[str, str] | None:
    """Return a signature and what it returns, as the source has them; None leaves Sphinx's."""
    if isinstance(target, type):
        # The keys of a record are on the page of the documents.
        return ("", "") if issubclass(target, Record) else _of_class(target)
    if what not in ("function", "method"):
        return None
    node = _source(target)
    assert isinstance(node, ast.FunctionDef)
    arguments = node.args
    if what == "method" and arguments.args and arguments.args[0].arg in ("self", "cls"):
        del arguments.args[0]
    for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        each.annotation = each.annotation and _unquoted(each.annotation)
    returns = "" if node.returns is None else ast.unparse(_unquoted(node.returns))
    return f"({ast.unparse(arguments)})", returns


def _of_class(target: type) -> tuple[str, str] | None:
    """Return the fields of a dataclass as the arguments that they are."""
    if not hasattr(target, "__dataclass_fields__"):
        return None
    node = _source(target)
    assert isinstance(node, ast.ClassDef)
    fields = [
        ast.unparse(each.target)
        + f": {ast.unparse(_unquoted(each.annotation))}"
        + ("" if (value := _default(each.value)) is None else f" = {ast.unparse(value)}")
        for each in node.body
        if isinstance(each, ast.AnnAssign)
    ]
    return f"({', '.join(fields)})", ""


def _source(target: Any) -> ast.stmt:
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(target))).body
    return node


def _unquoted(annotation: ast.expr) -> ast.expr:
    """Return an annotation that stands in quotes, as its name is not known there, without them."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return ast.parse(annotation.value, mode="eval").body
    return annotation


def _default(value: ast.expr | None) -> ast.expr | None:
    """Return ``Exact()`` of ``field(default_factory=Exact)``, and None of a field without any."""
    match value:
        case ast.Call(func=ast.Name("field"), keywords=given):
            for each in given:
                if each.arg == "default_factory":
                    return ast.Call(func=each.value, args=[], keywords=[])
            return next((each.value for each in given if each.arg == "default"), None)
    return value


def by_short_name(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, shown: nodes.TextElement
) -> nodes.reference | nodes.TextElement | None:
    """Find what a short name means: the one thing on these pages that ends in it.

    What is in the code and not on these pages is shown without a link; what is nowhere is an error.
    """
    name = node["reftarget"]
    if node.get("refdomain") != "py":
        return None
    found = {
        (entry.docname, entry.node_id)
        for known, entry in env.domains.python_domain.objects.items()
        if known.endswith(f".{name}")
    }
    if len(found) == 1:
        ((page, anchor),) = found
        return make_refnode(app.builder, node["refdoc"], page, anchor, shown)
    return shown if _is_in_the_code(name) else None


def _is_in_the_code(name: str) -> bool:
    """Return whether some module of the package knows a name, or it is one of a library."""
    first, *rest = name.split(".")
    modules = [each for key, each in sys.modules.items() if key.split(".")[0] == "isologit"]
    for start in (*(vars(each).get(first) for each in modules), sys.modules.get(first)):
        found = start
        for each in rest:
            found = getattr(found, each, None)
        if found is not None:
            return True
    return False
