"""Docstrings, the reference and links to it."""

import importlib
import inspect
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from sklearn.base import BaseEstimator

import skwavelet
from skwavelet._utils.documentation import DocumentedMixin

MODULES = ["datasets", "energies", "inspection", "properties"]
MODULES += ["neural"] * bool(find_spec("torch")) + ["lammps"] * bool(find_spec("lammps"))
NAMES = [f"skwavelet.{name}" for name in skwavelet.__all__] + [
    f"skwavelet.{module}.{name}"
    for module in MODULES
    for name in importlib.import_module(f"skwavelet.{module}").__all__
]
DOCS = Path(__file__).parents[1] / "docs"


def resolve(name):
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def documented(name):
    """A public name and its own public methods, as numpydoc calls them."""
    thing = resolve(name)
    if not inspect.isclass(thing):
        return [name]
    methods = [
        attribute
        for attribute, value in vars(thing).items()
        if inspect.isfunction(value) and not attribute.startswith("_")
    ]
    return [name, *(f"{name}.{method}" for method in methods)]


@pytest.mark.parametrize("name", [name for name in NAMES if callable(resolve(name))])
def test_docstrings_have_all_parts(name):
    """Every parameter is described, nothing else is, and public names have an example."""
    validate = pytest.importorskip("numpydoc.validate").validate
    # Sections and order; parameters missing, unknown, misplaced, without type or description.
    wanted = {"GL07", "GL08", "PR01", "PR02", "PR03", "PR04", "SS01", "SS03", "RT01", "YD01"}
    for item in documented(name):
        found = [(code, text) for code, text in validate(item)["errors"] if code in wanted]
        assert not found, f"{item}: {found}"
    assert "EX01" not in {code for code, _ in validate(name)["errors"]}, f"{name} has no example"


@pytest.mark.parametrize("name", NAMES)
def test_reference_lists_every_public_name(name):
    module, _, attribute = name.rpartition(".")
    pages = (DOCS / "reference" / "index.md").read_text(encoding="utf-8")
    assert any(f".. {directive}:: {module}\n" in pages for directive in ("module", "currentmodule"))
    assert f"\n   {attribute}\n" in pages or not callable(resolve(name))


ESTIMATORS = [
    name
    for name in skwavelet.__all__
    if inspect.isclass(thing := getattr(skwavelet, name)) and issubclass(thing, BaseEstimator)
]


def test_networks_link_to_their_page(monkeypatch):
    neural = pytest.importorskip("skwavelet.neural", reason="the networks need torch")
    monkeypatch.setattr(DocumentedMixin, "_doc_link_template", "https://docs.example/{page}.html")
    html = neural.AngularNetwork()._repr_html_()
    assert "https://docs.example/skwavelet.neural.AngularNetwork.html" in html


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators_link_to_their_page(name, monkeypatch):
    monkeypatch.setattr(DocumentedMixin, "_doc_link_template", "https://docs.example/{page}.html")
    required = {"features": None, "regressor": None} if name == "EnergyForceRegressor" else {}
    estimator = getattr(skwavelet, name)(**required)
    assert f"https://docs.example/skwavelet.{name}.html" in estimator._repr_html_()


def test_estimators_of_users_do_not_link_here(monkeypatch):
    monkeypatch.setattr(DocumentedMixin, "_doc_link_template", "https://docs.example/{page}.html")

    class Mine(skwavelet.VoxelScattering):
        pass

    assert "docs.example" not in Mine()._repr_html_()


def test_corrections_of_the_dissertation_name_tests_that_exist():
    page = (DOCS / "explanation" / "thesis.md").read_text(encoding="utf-8")
    named = re.findall("`(test_.*?)`", page)
    tests = "".join(
        path.read_text(encoding="utf-8") for path in Path(__file__).parent.rglob("*.py")
    )
    assert len(named) > 10
    assert [name for name in named if f"\ndef {name}(" not in tests] == []
