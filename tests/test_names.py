"""Names and structure of the package: one class a name, no circles, subjects of docstrings."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "apitorch_desktop"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / PACKAGE).rglob("*.py")
}


@pytest.fixture(scope="module")
def trees():
    return {module: ast.parse(path.read_text("utf-8")) for module, path in MODULES.items()}


@pytest.fixture(scope="module")
def imports(trees):
    """Module → modules of the package that it imports, anywhere in its text."""
    found = defaultdict(set)
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                found[module] |= {name if name in MODULES else node.module for name in names}
            elif isinstance(node, ast.Import):
                found[module] |= {alias.name for alias in node.names}
        found[module] = {name for name in found[module] if name in MODULES and name != module}
    return found


def circles(graph):
    """Strongly connected groups of more than one, by Tarjan's algorithm."""
    order, lowest, stack, found = {}, {}, [], []

    def visit(node):
        order[node] = lowest[node] = len(order)
        stack.append(node)
        for following in graph.get(node, ()):
            if following not in order:
                visit(following)
                lowest[node] = min(lowest[node], lowest[following])
            elif following in stack:
                lowest[node] = min(lowest[node], order[following])
        if lowest[node] == order[node]:
            group = []
            while (last := stack.pop()) != node:
                group.append(last)
            if group:
                found.append(sorted([*group, node]))

    for node in list(graph):
        if node not in order:
            visit(node)
    return found


def test_no_two_modules_import_each_other(imports):
    assert not circles(imports)


def test_no_two_packages_import_each_other(imports):
    packages = defaultdict(set)
    for module, names in imports.items():
        for name in names:
            above, below = (
                one if "__init__" in MODULES[one].name else one.rpartition(".")[0] for one in (module, name)
            )
            if above != below and not (below.startswith(f"{above}.") or above.startswith(f"{below}.")):
                packages[above].add(below)
    assert not circles(packages)


def test_every_class_name_stands_for_one_thing(trees):
    where = defaultdict(list)
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                where[node.name].append(module)
    assert not {name: modules for name, modules in where.items() if len(modules) > 1}


def test_docstrings_begin_with_a_noun_or_a_verb(trees):
    odd = [
        f"{module}:{getattr(node, 'lineno', 1)}"
        for module, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and re.match(r"(What|Whether|Where|Who|How|When|Why)\b|Qt's\.", ast.get_docstring(node) or "")
    ]
    assert not odd


def places(page):
    """Paths of the repository that a page of the documentation names in backticks, and file names alone."""
    named = re.findall(r"`([\w.-]+(?:/[\w.-]*)+|\w+\.py)`", page.read_text("utf-8"))
    return [name for name in named if not name.startswith(("../", ".venv/"))]


def test_decisions_have_numbers_of_their_own():
    records = sorted((ROOT / PACKAGE / "decisions").glob("*.md"))
    numbers = [int(record.name.partition("-")[0]) for record in records]
    assert numbers == list(range(1, len(records) + 1))
    headings = [record.read_text("utf-8").partition(". ")[0] for record in records]
    assert headings == [f"# {number}" for number in numbers]


def test_pages_name_files_and_folders_that_are_there():
    package = ROOT / PACKAGE
    pages = [ROOT / "README.md", ROOT / ".github/CONTRIBUTING.md", *package.rglob("*.md")]
    assert any(places(page) for page in pages)
    bases = [ROOT, package, *(folder for folder in package.iterdir() if folder.is_dir())]
    names = {path.name for folder in (PACKAGE, "tests", "packaging") for path in (ROOT / folder).rglob("*.py")}

    def exists(name, page):
        spellings = (name.rstrip("/"), f"{name}.py")
        found = any((base / spelling).exists() for base in (*bases, page.parent) for spelling in spellings)
        return found or ("/" not in name and name in names)

    assert not [(page.name, name) for page in pages for name in places(page) if not exists(name, page)]


def test_the_tree_of_the_architecture_names_every_package_and_what_is_there():
    tree = (ROOT / PACKAGE / "ARCHITECTURE.md").read_text("utf-8").split("```")[1]
    named, package = set(), ROOT / PACKAGE
    for indent, names in re.findall(r"^( {4})?(\w.*?)  ", tree, re.MULTILINE):
        package = package if indent else ROOT / PACKAGE / names
        named |= {package / name.rstrip("/") for name in re.findall(r"[\w/]+", names)} if indent else {package}
    assert not [path for path in named if not path.is_dir() and not path.with_suffix(".py").is_file()]
    packages = {path.parent for depth in ("*", "*/*") for path in (ROOT / PACKAGE).glob(f"{depth}/__init__.py")}
    assert packages <= named


def test_the_flows_of_the_architecture_pass_modules_that_are_there():
    flows = (ROOT / PACKAGE / "ARCHITECTURE.md").read_text("utf-8").split("## Five flows")[1].split("\n## ")[0]
    names = set(re.findall(r"`([a-z_]+)`", flows))
    assert names
    assert not names - {module.rpartition(".")[2] for module in MODULES}
