"""The layout: imports run one way, torch and printing stay where they belong, docs tell the truth.

What is written down in DESIGN §5 as an order of packages is held here against the source itself.
"""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from isologit import errors

PACKAGE = Path(errors.__file__).parent

# From left to right: each layer may use its own and those before it.
LAYERS = {
    "errors": 0,
    "numerics": 1,
    "checkpoint": 2,
    "equivalence": 3,
    "tokens": 3,
    "audit": 4,
    "output": 5,
    "explorer": 6,
    "census": 6,
    # It starts them.
    "cli": 7,
    # The package's face and its entry point look at everything; nothing looks at them.
    "": 8,
    "__main__": 8,
}
# Modules of the package itself that belong to the job.
OF_THE_JOB = (
    *("audit", "classes", "inspection", "reproduce", "figures"),
    *("findings", "subject", "request", "clusters", "steps", "cache"),
    *("audit_tables", "audit_checks", "audit_counts", "table_words", "record_display"),
    *("record", "claims", "claimed", "token_findings", "token_steps", "token_source", "listing"),
    *("policy", "rules", "rule_facts", "checking"),
    *("exportable", "selection", "result_files"),
    *("comparing", "diff_sides", "diff_findings", "diff_rows"),
    *("explaining", "tie_findings"),
    *("states_findings", "across_states", "state_sources"),
    *("certificates", "reachable_states"),
    *("casting", "cast_findings"),
    *("near_twins", "twin_finder", "gap_findings"),
    *("never_top", "never_top_findings"),
)
TORCH_MODULES = {"numerics/observed.py", "checkpoint/torch_pickle.py"}
TRAINING = {"demo/model.py", "demo/train.py", "demo/training.py", "demo/corpus.py"}


def layer_of(module: str) -> str:
    """Return the layer that ``isologit.x.y`` belongs to, or its own name where it has none."""
    first = module.split(".")[1] if "." in module else ""
    return "audit" if first in OF_THE_JOB else first


@cache
def sources() -> dict[str, ast.Module]:
    """Return every module of the package by its path."""
    return {
        path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def module_name(path: str) -> str:
    parts = ["isologit", *path.removesuffix(".py").split("/")]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST, package: str) -> Iterator[tuple[str, ast.stmt]]:
    """Yield every module that a tree imports, at its top or deep inside, with the statement."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            origin = (
                ".".join([*base, node.module] if node.module else base)
                if node.level
                else (node.module or "")
            )
            # `from isologit import steps` imports a module, not a name.
            if origin == "isologit":
                yield from ((f"isologit.{alias.name}", node) for alias in node.names)
            else:
                yield origin, node


def against_the_order(modules: dict[str, ast.Module]) -> list[str]:
    """Return the imports that run from left to right."""
    found = []
    for path, tree in modules.items():
        own = module_name(path)
        package = own if path.endswith("__init__.py") else own.rpartition(".")[0]
        layer = layer_of(own)
        for target, _ in imports(tree, package):
            if not target.startswith("isologit."):
                continue
            other = layer_of(target)
            if other == "__version__" or other == layer:
                continue
            if "demo" in (layer, other):
                # The embedded checkpoint uses nothing, and only a command uses it.
                allowed = other == "errors" or (other == "demo" and layer == "cli")
            else:
                allowed = LAYERS.get(other, 99) < LAYERS.get(layer, -1)
            if not allowed:
                found.append(f"{path} imports {target}")
    return found


def outside_functions(tree: ast.Module, name: str) -> list[int]:
    """Return the lines where a library is imported as soon as the module is."""
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    return [
        statement.lineno
        for module, statement in imports(tree, "isologit")
        if module.split(".")[0] == name and id(statement) not in inside
    ]


def effects(tree: ast.AST) -> list[str]:
    """Return the calls that print or open a file."""
    verbs = {"print", "open", "input", "exec", "eval"}
    methods = {"write_text", "write_bytes", "read_text", "read_bytes", "open", "mkdir", "unlink"}
    methods |= {"tofile", "fromfile", "memmap", "savez", "save_file"}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in verbs:
                found.append(f"{node.func.id}() at line {node.lineno}")
            elif isinstance(node.func, ast.Attribute) and node.func.attr in methods:
                found.append(f".{node.func.attr}() at line {node.lineno}")
            elif ast.unparse(node.func).startswith(
                ("sys.stdout", "sys.stderr", "np.save", "np.load")
            ):
                found.append(f"{ast.unparse(node.func)}() at line {node.lineno}")
    return found


def test_imports_run_one_way() -> None:
    assert against_the_order(sources()) == []


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("numerics/exact.py", "from isologit.checkpoint.open import open_checkpoint"),
        ("numerics/exact.py", "import isologit.output.tables"),
        ("checkpoint/open.py", "from isologit.equivalence import rows"),
        ("checkpoint/open.py", "from ..equivalence.rows import row_classes"),
        ("equivalence/rows.py", "from isologit import audit"),
        ("equivalence/rows.py", "from isologit.tokens.scripts import scripts"),
        ("equivalence/rows.py", "def f():\n    from isologit.cli.main import run"),
        ("audit.py", "from isologit.output.tables import audit_page"),
        ("steps.py", "from .output import tables"),
        ("findings.py", "if TYPE_CHECKING:\n    from isologit.output import tables"),
        ("output/tables.py", "from isologit.cli import terminal"),
        ("audit.py", "from isologit.demo import checkpoint_path"),
        ("demo/__init__.py", "from isologit.audit import audit"),
        ("errors.py", "from isologit.numerics.formats import BF16"),
        ("explorer/app.py", "from isologit.cli import main"),
        ("newcomer.py", "from isologit.numerics import exact"),
        ("audit.py", "from isologit import newcomer"),
    ],
)
def test_an_import_against_the_order_is_caught(path: str, line: str) -> None:
    assert len(against_the_order({path: ast.parse(line)})) == 1


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("checkpoint/open.py", "from isologit.numerics.formats import BF16"),
        ("checkpoint/open.py", "from .bytes import MappedFile"),
        ("equivalence/rows.py", "from isologit import __version__\nimport numpy as np"),
        ("output/tables.py", "from isologit.findings import Audit"),
        ("cli/demo.py", "from isologit.demo import checkpoint_path"),
        ("audit.py", "from isologit import steps"),
    ],
)
def test_an_import_along_the_order_is_not(path: str, line: str) -> None:
    assert against_the_order({path: ast.parse(line)}) == []


def test_every_module_has_a_layer() -> None:
    tops = {module_name(path).split(".")[1] for path in sources() if "/" in path}
    tops |= {path.removesuffix(".py") for path in sources() if "/" not in path}
    known = {*LAYERS, *OF_THE_JOB, "demo", "__init__", "__main__"}
    assert tops - known == set()


def test_torch_is_imported_inside_functions_of_its_modules_alone() -> None:
    for path, tree in sources().items():
        named = [m for m, _ in imports(tree, "isologit") if m.split(".")[0] == "torch"]
        if path in TRAINING:
            continue
        assert not named or path in TORCH_MODULES, path
        assert outside_functions(tree, "torch") == [], path


def test_a_torch_import_at_the_top_is_caught() -> None:
    assert outside_functions(ast.parse("import torch"), "torch") == [1]
    assert outside_functions(ast.parse("x = 1\nfrom torch import nn"), "torch") == [2]
    assert outside_functions(ast.parse("def f():\n    import torch"), "torch") == []


def compiles(tree: ast.AST) -> bool:
    """Return whether a module needs the compiler as soon as it is imported."""
    return any(
        module.split(".")[0] in ("numba", "llvmlite") and statement in tree.body
        for module, statement in imports(tree, "isologit")
        if isinstance(tree, ast.Module)
    )


def asks_for_blas(tree: ast.AST) -> list[int]:
    """Return the lines of compiled functions that would call BLAS or LAPACK."""
    compiled = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and any(ast.unparse(each).startswith("kernel(") for each in node.decorator_list)
    ]
    return [
        node.lineno
        for function in compiled
        for node in ast.walk(function)
        if (isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult))
        or (isinstance(node, ast.Attribute) and node.attr in ("dot", "vdot", "linalg"))
    ]


def test_kernels_live_in_numerics_and_have_their_machine_code_kept() -> None:
    settled = {"numerics/compilation.py"}
    trees = sources()
    for path, tree in trees.items():
        calls = {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
        if "keep_machine_code" in calls:
            settled.add(path)
    names = {module_name(path) for path in settled - {"numerics/compilation.py"}}
    assert names
    for path, tree in trees.items():
        if compiles(tree):
            assert path.startswith("numerics/"), path
            imported = {m for m, _ in imports(tree, "isologit.numerics")}
            imported |= {
                f"{node.module}.{alias.name}"
                for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom)
                for alias in node.names
            }
            assert path in settled or imported & names, path


def test_kernels_are_made_by_the_one_decorator() -> None:
    # It forgives a cache that cannot be read or written, and numba's own does not.
    makers = [
        path
        for path, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute | ast.Name) and ast.unparse(node).endswith("jit")
    ]
    assert set(makers) == {"numerics/compilation.py"}


def test_no_kernel_asks_for_blas() -> None:
    # The command line starts numba without it.
    for path, tree in sources().items():
        assert asks_for_blas(tree) == [], path


def test_a_kernel_that_asks_for_blas_is_caught() -> None:
    kernel = "@kernel()\ndef f(a, b):\n    return {}"
    assert asks_for_blas(ast.parse(kernel.format("np.dot(a, b)"))) == [3]
    assert asks_for_blas(ast.parse(kernel.format("a @ b"))) == [3]
    assert asks_for_blas(ast.parse(kernel.format("a * b"))) == []
    assert asks_for_blas(ast.parse("def f(a, b):\n    return a @ b")) == []


def test_only_commands_and_training_import_what_is_for_words() -> None:
    # rich for output and cli; click for cli.
    for path, tree in sources().items():
        named = {m.split(".")[0] for m, _ in imports(tree, "isologit")}
        layer = layer_of(module_name(path))
        assert "click" not in named or layer == "cli", path
        assert "rich" not in named or layer in ("cli", "output"), path


def test_equivalence_neither_prints_nor_opens() -> None:
    for path, tree in sources().items():
        if path.startswith("equivalence/"):
            assert effects(tree) == [], path


@pytest.mark.parametrize(
    "line",
    [
        "print(1)",
        "open('x')",
        "Path('x').open()",
        "path.write_text('')",
        "np.load('x')",
        "sys.stderr.write('x')",
        "def f():\n    print()",
    ],
)
def test_a_print_or_an_open_is_caught(line: str) -> None:
    assert len(effects(ast.parse(line))) == 1


def test_numerics_and_checkpoint_know_no_token_text() -> None:
    for path, tree in sources().items():
        if path.startswith(("numerics/", "checkpoint/")):
            named = {m.split(".")[0] for m, _ in imports(tree, "isologit")}
            assert not named & {"tokenizers", "sentencepiece", "transformers", "regex"}, path
            strings = {
                node.value
                for node in ast.walk(tree)
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            }
            assert not strings & {"tokenizer.json", "tokenizer.model", "vocab.json"}, path


def public(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Yield every public class, function and method of a module, with its dotted name."""

    def walk(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, ast.AST]]:
        for node in body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if node.name.startswith("_"):
                continue
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from walk(node.body, f"{prefix}{node.name}.")

    yield from walk(tree.body, "")


def undocumented(path: str, tree: ast.Module) -> list[str]:
    found = [] if ast.get_docstring(tree) else [path]
    found += [f"{path}: {name}" for name, node in public(tree) if not ast.get_docstring(node)]  # type: ignore[arg-type]
    return found


def test_every_public_name_has_a_docstring() -> None:
    assert [name for path, tree in sources().items() for name in undocumented(path, tree)] == []


def test_a_missing_docstring_is_caught() -> None:
    tree = ast.parse('"""A module."""\nclass A:\n    """A."""\n    def b(self): ...\ndef _c(): ...')
    assert undocumented("x.py", tree) == ["x.py: A.b"]
    assert undocumented("y.py", ast.parse("x = 1")) == ["y.py"]


class TestErrors:
    """The tree in the docstring, and the codes."""

    def classes(self) -> dict[str, type[errors.IsologitError]]:
        return {
            name: cls
            for name, cls in vars(errors).items()
            if isinstance(cls, type) and issubclass(cls, errors.IsologitError)
        }

    def drawn(self) -> dict[str, tuple[str, int | None]]:
        """Return each class of the drawing with the class above it and its code."""
        found: dict[str, tuple[str, int | None]] = {}
        above: list[str] = []
        line_of = re.compile(r"^(?P<branch>[ │├└─]*)(?P<name>[A-Z]\w+Error)\b(?P<rest>.*)$")
        for line in (errors.__doc__ or "").splitlines():
            match = line_of.match(line)
            if match is None or "derives" in line:
                continue
            depth = (len(match["branch"]) - 4) // 4
            code = re.match(r"\s+(\d+)\s", match["rest"])
            above = [*above[:depth], match["name"]]
            parent = above[depth - 1] if depth else ""
            found[match["name"]] = (parent, int(code[1]) if code else None)
        return found

    def test_the_drawing_is_the_tree(self) -> None:
        actual = {
            name: (
                "" if cls is errors.IsologitError else cls.__bases__[0].__name__,
                vars(cls).get("exit_code") if cls is not errors.IsologitError else None,
            )
            for name, cls in self.classes().items()
        }
        assert self.drawn() == actual

    def test_codes_are_distinct_and_from_three_up(self) -> None:
        leaves = [cls for cls in self.classes().values() if not cls.__subclasses__()]
        codes = [cls.exit_code for cls in leaves]
        assert len(set(codes)) == len(codes)
        # 0 ran, 1 a broken policy rule, 2 usage; 70, 130 and 141 are the command line's own.
        assert all(3 <= code < 70 for code in codes)

    def test_every_leaf_has_a_code_of_its_own(self) -> None:
        for cls in self.classes().values():
            assert bool(cls.__subclasses__()) != ("exit_code" in vars(cls)) or (
                cls is errors.IsologitError
            )

    def test_errors_are_defined_in_their_file_alone(self) -> None:
        for path, tree in sources().items():
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef) and path != "errors.py":
                    bases = {ast.unparse(base).split(".")[-1] for base in node.bases}
                    assert not bases & self.classes().keys(), (path, node.name)

    def test_every_error_is_raised_somewhere(self) -> None:
        used = {
            node.id
            for path, tree in sources().items()
            if path != "errors.py"
            for node in ast.walk(tree)
            if isinstance(node, ast.Name)
        }
        assert {n for n, cls in self.classes().items() if not cls.__subclasses__()} - used == set()


def test_the_public_names_are_there() -> None:
    isologit = importlib.import_module("isologit")
    assert isologit.__all__ == sorted(isologit.__all__)
    for name in isologit.__all__:
        assert getattr(isologit, name) is not None
    for name in set(isologit.__all__) - {"__version__"}:
        assert inspect.getdoc(getattr(isologit, name))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = isologit.nonsense
