"""The site: `python -m sphinx -W --keep-going -b html docs build/site` (extra `docs`).

docs/extension has what is the library's own: pages from elsewhere in the repository, pages of the public
names, docstrings as reStructuredText, links from names in the text.
"""

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import ranvier
from extension import gallery, pages

project = "ranvier"
author = "the ranvier developers"
copyright = "the ranvier developers"
version = release = ranvier.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",  # the docstrings have sections as "Args:" and "Raises:"
    "myst_parser",
    "sphinx_gallery.gen_gallery",
    "sphinx_copybutton",
    "extension",
]
exclude_patterns = ["gallery/*.ipynb", "gallery/*.py"]
highlight_language = "none"  # blocks that name no language are commands
default_role = "code"
smartquotes = False
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_preserve_defaults = True
autodoc_typehints = "none"  # the docstrings say types and shapes
napoleon_numpy_docstring = False
napoleon_use_param = napoleon_use_rtype = False
napoleon_custom_sections = [("Attributes", "params_style")]

myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
suppress_warnings = [
    "misc.highlighting_failure",  # `...` in place of code is no Python
    "ref.python",  # an attribute such as `best` that several classes have
]

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = gallery.SETTINGS
warnings.filterwarnings("ignore", category=UserWarning, module="matplotlib")

html_theme = "pydata_sphinx_theme"
html_title = "ranvier"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": False,
    "show_nav_level": 1,
    "navigation_depth": 3,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}

pages.write_copies()
gallery.write_sources()
