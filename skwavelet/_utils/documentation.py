"""Where the HTML representation of an estimator links to."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, metadata

import skwavelet


def _page_template() -> str:
    """Return the address of a reference page, "" where the package metadata name none."""
    try:
        entries = metadata("skwavelet").get_all("Project-URL") or []
    except PackageNotFoundError:  # run from a folder, not installed
        return ""
    address = dict(entry.split(", ", 1) for entry in entries).get("Documentation")
    return f"{address.rstrip('/')}/reference/generated/{{page}}.html" if address else ""


class DocumentedMixin:
    """Link estimators to their pages of the reference, as scikit-learn does for its own.

    Put it before `sklearn.base.BaseEstimator` among the base classes.
    """

    _doc_link_module = "skwavelet"
    _doc_link_template = _page_template()

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        name, module = type(self).__name__, type(self).__module__
        if name in skwavelet.__all__:
            return {"page": f"skwavelet.{name}"}
        return {"page": ".".join([*module.split(".")[:2], name])}
