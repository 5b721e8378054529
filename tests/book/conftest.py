"""The whole book in the smoke profile, executed and built once for all tests of the book."""

import io
import shutil

import pytest
from rich.console import Console

from pdlib import paths, publish, run
from pdlib.params import Project


@pytest.fixture(scope="session")
def book(tmp_path_factory):
    """A copy of the book's sources, so that neither the reader's runs nor their site are touched."""
    root = tmp_path_factory.mktemp("smoke")
    for name in ("notebooks", "book", "data"):
        unwanted = shutil.ignore_patterns("raw", "edition", ".ipynb_checkpoints")
        shutil.copytree(paths.ROOT / name, root / name, ignore=unwanted)
    for name in ("_config.yml", "_toc.yml", *publish.ROOT_TEXTS):
        shutil.copyfile(paths.ROOT / name, root / name)
    return Project(root)


@pytest.fixture(scope="session")
def executed(book):
    """The folder of its executed chapters."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PDLIB_RUNS", str(book.root / "runs"))
        patch.setenv("PDLIB_RESULTS", str(book.root / "results"))
        patch.setenv("NUMBA_CACHE_DIR", str(paths.BUILD / "numba"))
        out = io.StringIO()
        report = run.run("smoke", project=book, console=Console(file=out, width=200))
    assert report.ok, out.getvalue()
    return report.folder


@pytest.fixture(scope="session")
def site(book, executed):
    """The folder of its built pages."""
    return publish.publish_run(book, executed, Console(file=io.StringIO())).parent
