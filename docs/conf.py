"""Configuration of the documentation: ``python -m sphinx -W -n docs docs/_build``.

The gallery runs its examples; ``-D plot_gallery=0`` leaves that out. In an environment with
``SKWAVELET_DOCS_ONLINE=1``, names of other packages link to their documentation.
"""

import os
import warnings
from importlib.metadata import version as installed_version
from pathlib import Path

from sphinx_gallery.sorting import ExplicitOrder

from skwavelet._utils.documentation import DocumentedMixin

here = Path(__file__).parent

project = "skwavelet"
author = "The skwavelet developers"
copyright = author
version = release = installed_version("skwavelet")

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx-mathjax-offline",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "matplotlib.sphinxext.plot_directive",
]
root_doc = "index"
exclude_patterns = [
    "results/tables.md",
    "results/lisi/*.md",
    "_build",
    "**/.ipynb_checkpoints",
    "gallery/**/*.ipynb",
]
templates_path = ["_templates"]
nitpicky = True
default_role = "py:obj"

# -- pages ----------------------------------------------------------------------------------------

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = f"skwavelet {release}"
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": False,
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": ["page-toc"],
}
html_show_sourcelink = False
html_sidebars = {page: [] for page in ("index", "get_started", "results*")}

# -- names of other packages ----------------------------------------------------------------------

intersphinx_mapping = {}
if os.environ.get("SKWAVELET_DOCS_ONLINE"):
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "pandas": ("https://pandas.pydata.org/docs", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
        "ase": ("https://ase-lib.org", None),
        "matplotlib": ("https://matplotlib.org/stable", None),
    }
nitpick_ignore_regex = [
    # Docstrings that are inherited from scikit-learn set parameters and values like names.
    ("py:obj", r'input_features|feature_names_in_|\["x0".*'),
    ("py:.*", r"(ase|joblib|matplotlib|numpy|pandas|scipy|sklearn|skops|torch)\..*"),
]

# -- reference ------------------------------------------------------------------------------------

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's sections say more
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False


# Estimators that the gallery shows link to the pages beside it.
DocumentedMixin._doc_link_template = "../reference/generated/{page}.html"

# -- figures and gallery --------------------------------------------------------------------------

plot_basedir = str(here)
plot_html_show_source_link = False
plot_html_show_formats = False
plot_formats = [("png", 130)]
plot_rcparams = {"figure.dpi": 100, "savefig.bbox": "tight", "font.size": 9}

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    # In the order in which one would read them; those that are not named come last.
    "within_subsection_order": ExplicitOrder(
        [
            "plot_first_model.py",
            "plot_own_file.py",
            "plot_path_folds.py",
            "plot_selected_features.py",
            "plot_maps.py",
            "plot_force_training.py",
            "plot_calculator.py",
            "plot_diffusion_barrier.py",
            "plot_bulk_modulus.py",
            "plot_sixty_labels.py",
            "plot_trust.py",
            "plot_uncertainty.py",
            "plot_neural_ethanol.py",
            "plot_neural_filters.py",
            "plot_neural_pooling_torsion.py",
            "plot_neural_lennard_jones.py",
            "*",
        ]
    ),
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"(^|/)(?!plot_)[^/]*\.py$",
    "backreferences_dir": "reference/backreferences",
    "doc_module": ("skwavelet",),
    "remove_config_comments": True,
    "download_all_examples": False,
    "show_memory": False,
    "matplotlib_animations": False,
    "plot_gallery": "True",
}

# Examples of the gallery run with the warnings of a user's session; sphinx-gallery itself shows
# figures on a backend that cannot.
warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")
