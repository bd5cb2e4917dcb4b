"""Wavelet scattering features of atomic structures and sparse models of their energy."""

import lazy_loader

__version__ = "0.1.0"

# Names are loaded when they are first used: scikit-learn and pandas take about a second. Which
# ones there are stands in ``__init__.pyi``, where type checkers look too.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
